"""A format accepts what the API server accepts: what the Go function behind it does."""

import time
from typing import Any

import pytest

from trainlet.admission.formats import FORMATS, find_format

UUID = "6ba7b810-9dad-{}1d1-{}0b4-00c04fd430c8"
LABEL = "a" * 63

# Name -> (legal values, illegal values).
VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "bsonobjectid": (["507f1f77bcf86cd799439011", "A" * 24], ["507f1f77bcf86cd79943901", "g" * 24, ""]),
    "byte": (["aGk=", "aGkh", "+/==", "YQ=="], ["", "aGk", "a-_=", "aGk=\n", "aGk= "]),
    "cidr": (
        ["10.0.0.0/8", "10.1.2.3/32", "::/0", "fe80::1/64", "10.0.0.0/08"],
        ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "::/129", "10.0/8", "/8", "10.0.0.0/", "10.0.0.0/-1", "::/٣"],
    ),
    "creditcard": (
        ["4111111111111111", "4111-1111-1111-1111", "5555 5555 5555 4444", "378282246310005"],
        ["4111111111111112", "1234567890123456", "", "411111111111111"],
    ),
    "date": (
        ["2026-01-02", "2024-02-29"],
        ["2026-1-2", "2025-02-29", "20260102", "2026-W01-1", "2026-01-02T00:00:00Z", ""],
    ),
    "date-time": (
        [
            "2026-01-02T03:04:05Z",
            "2026-01-02t03:04:05.123456789z",
            "2026-01-02T03:04:05+01:00",
            "2026-01-02T23:59:59-23:59",
        ],
        [
            "2026-01-02",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:60:00Z",
            "2026-01-02T03:04:60Z",
            "2026-13-02T03:04:05Z",
            "2026-01-02T03:04Z",
            "2026-01-02T03:04:05+0100",
            "٢026-01-02T03:04:05Z",
            "2026-01-02T03:04:05Z\n",
        ],
    ),
    "double": ([1.5, 1e308, 1], []),
    "duration": (
        ["0", "1s", "1h30m", "-1.5h", "+1ns", ".5s", "1µs", "1μs", "22 ns", "3 weeks", "1 hour 2 minutes", "1D", "2wk"],
        ["", "1", "s", "1x", "1.5 weeks", "three days", "1 s!", "-1 day", "1h-1m"],
    ),
    "email": (
        [
            "a@b",
            "a.b+c@example.com",
            "Joe <joe@example.com>",
            '"Joe Q." <joe@example.com>',
            '"a b"@c.d',
            "ü@example.com",
        ],
        ["", "a", "@b", "a@", "a b@c", "a@b c", "a@@b", "Joe <joe@example.com", "a..b@c", ".a@b", "a@b, c@d"],
    ),
    "float": ([1.5, 3.4e38, -3.4e38], [3.5e38, -3.5e38]),
    "hexcolor": (["#fff", "FFF", "#A0b1C2"], ["", "#ffff", "#ggg", "##fff"]),
    "hostname": (
        [
            "a",
            "localhost",
            "a-b",
            "example.com",
            "a-b.example.com",
            "3com.com",
            "bücher.example",
            "😀.example",
            f"{LABEL}.com",
        ],
        [
            "",
            "-a.com",
            "my-host",
            "a-b-c",
            "a-.com",
            "a_b.com",
            "example.c",
            "a..com",
            f"a{LABEL}.com",
            ".".join([LABEL] * 4) + ".com",
            "a b",
        ],
    ),
    "int32": ([2**31 - 1, -(2**31), 0, 1.0], [2**31, -(2**31) - 1]),
    "int64": ([2**63 - 1, -(2**63)], [2**63, -(2**63) - 1]),
    "ipv4": (
        ["10.0.0.1", "::ffff:10.0.0.1"],
        ["10.0.0", "10.0.0.256", "::1", "010.0.0.1", "10.0.0.1/8", " 10.0.0.1", ""],
    ),
    "ipv6": (["::", "::1", "fe80::1", "::ffff:10.0.0.1"], ["10.0.0.1", "fe80::1%eth0", ":::", "g::", ""]),
    "isbn": (["0321751043", "978-0321751041"], ["0321751044", "978-0321751042", "abc", ""]),
    "isbn10": (
        ["0321751043", "0-8044-2957-X", "0 321 75104 3"],
        ["0321751044", "9780321751041", "032175104", "X321751043"],
    ),
    "isbn13": (["9780321751041", "978-0321751041"], ["9780321751042", "0321751043", "978032175104"]),
    "k8s-long-name": (["a", "a-b.c1", f"{LABEL}a.b"], ["", "A", "a_b", "a..b", "-a", "a" * 254]),
    "k8s-short-name": (["a", "a-b", "0", LABEL], ["", "A", "a.b", "a-", f"{LABEL}a"]),
    "mac": (
        ["00:00:5e:00:53:01", "02-00-5E-10-00-01", "0000.5e00.5301", "02:00:5e:10:00:00:00:01", "0200.5e10.0000.0001"],
        ["00:00:5e:00:53", "00:00:5e-00:53:01", "00005e005301", "00:00:5g:00:53:01", "0000.5e00", "0:0:5e:0:53:1", ""],
    ),
    "password": (["", "anything"], []),
    "quantity": (["1", "1.5", "500m", "4Gi", "-1e3", ".5"], ["", "1 Gi", "1GiB", "one", "1\n"]),
    "rgbcolor": (
        ["rgb(0,1,255)", "rgb( 10 , 100 , 200 )"],
        ["rgb(0,0,256)", "rgb(0,0)", "rgb(00,0,0)", "rgba(0,0,0,0)", "#fff", ""],
    ),
    "ssn": (["111-22-3333", "111 22 3333"], ["111223333", "11-222-3333", "a11-22-3333", ""]),
    "uri": (
        [
            "http://example.com",
            "https://u:p@example.com:8080/a?b=%zz",
            "/a/b",
            "mailto:a@b",
            "http://[::1]:80/",
            "s3://b/k",
            "*",
        ],
        ["", "a/b", "example.com", "http://a b/", "http://a:port/", "/a%zz", "http://a\n", "://a", "http://[::1/"],
    ),
    "uuid": (
        [UUID.format(1, 8), UUID.format(1, 8).upper(), UUID.format(1, 8).replace("-", "")],
        ["", "6ba7b810", "g" * 36],
    ),
    "uuid3": ([UUID.format(3, 1)], [UUID.format(4, 1), UUID.format(1, 8)]),
    "uuid4": ([UUID.format(4, 8), UUID.format(4, "b"), UUID.format(4, "A")], [UUID.format(4, 7), UUID.format(3, 8)]),
    "uuid5": ([UUID.format(5, 9)], [UUID.format(5, "c"), UUID.format(4, 9)]),
}
LEGAL = [(name, value) for name, (legal, _) in VALUES.items() for value in legal]
ILLEGAL = [(name, value) for name, (_, illegal) in VALUES.items() for value in illegal]


@pytest.mark.parametrize(("name", "value"), LEGAL)
def test_legal_values(name: str, value: Any) -> None:
    assert FORMATS[name.replace("-", "")](value)


@pytest.mark.parametrize(("name", "value"), ILLEGAL)
def test_illegal_values(name: str, value: Any) -> None:
    assert not FORMATS[name.replace("-", "")](value)


LONG = [
    "1" * 1_000_000 + "x",
    "a" * 1_000_000 + "!",
    "a." * 500_000,
    " " * 1_000_000,
    '"a' * 500_000,
    "1s" * 500_000 + "!",
]
LONG += [
    "1 " * 500_000,
    "0:" * 500_000,
    "a@" * 500_000,
    "%41" * 300_000,
    "http://" + "a" * 1_000_000 + " ",
    "=" * 1_000_000,
]


@pytest.mark.parametrize("name", [name for name in VALUES if name not in ("double", "float", "int32", "int64")])
def test_no_text_takes_long(name: str) -> None:
    start = time.process_time()
    for text in LONG:
        FORMATS[name.replace("-", "")](text)
    assert time.process_time() - start < 10  # a hang is what this is about


def test_every_format_is_in_the_table() -> None:
    assert {name.replace("-", "") for name in VALUES} == set(FORMATS)


@pytest.mark.parametrize(
    ("name", "value_type", "is_known"),
    [
        ("date-time", "string", True),
        ("datetime", "string", True),
        ("date", "", True),
        ("int32", "integer", True),
        ("float", "number", True),
        ("int32", "string", False),
        ("int32", "", False),
        ("int32", "number", False),
        ("date", "integer", False),
        ("date", "array", False),
        ("made-up", "string", False),
    ],
)
def test_a_format_counts_only_for_its_type(name: str, value_type: str, is_known: bool) -> None:
    assert (find_format(name, value_type) is not None) == is_known
