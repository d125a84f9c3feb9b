"""Log frames, JSON lines and times, as both container engines send them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlet.engine.wire import (
    LONGEST_LINE_BYTES,
    StreamBroken,
    build_gateway,
    decode_json_lines,
    decode_log,
    parse_engine_time,
)

STAMP = b"2026-01-02T03:04:05.123456789Z "
TIME = datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)


def frame(payload: bytes, stream: int = 1) -> bytes:
    """Return one frame of a multiplexed log."""
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def cut(data: bytes, size: int) -> list[bytes]:
    """Return data in chunks of this size, as a socket may give them."""
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 3, 8, 9, 1000])
def test_lines_are_whole_however_the_chunks_are_cut(size: int) -> None:
    data = frame(STAMP + b"one\n") + frame(STAMP + b"oops\n", 2) + frame(STAMP + b"two\n")
    lines = list(decode_log(cut(data, size)))
    assert [(line.stream, line.text, line.time) for line in lines] == [
        ("stdout", "one", TIME),
        ("stderr", "oops", TIME),
        ("stdout", "two", TIME),
    ]


def test_a_line_cut_into_entries_is_joined_though_the_other_stream_comes_between() -> None:
    later = STAMP.replace(b":05.", b":09.")
    data = frame(STAMP + b"a" * 5) + frame(later + b"err\n", 2) + frame(later + b"b" * 5) + frame(later + b"c\n")
    lines = list(decode_log([data]))
    assert [(line.stream, line.text) for line in lines] == [("stderr", "err"), ("stdout", "aaaaabbbbbc")]
    assert lines[1].time == TIME


@pytest.mark.parametrize(
    ("payload", "texts"),
    [
        (STAMP + b"no end", ["no end"]),
        (STAMP + b"\n", [""]),
        (b"no stamp\n", ["no stamp"]),
        (STAMP + b"1%\r2%\r\n", ["1%\r2%\r"]),
        (STAMP + b"two\n" + STAMP + b"in one frame\n", ["two", "in one frame"]),
        (STAMP + b"\xff\xc3\xbc\n", ["�ü"]),
        (b"2026-01-02T03:04:05+02:00 Podman's\n", ["Podman's"]),
    ],
)
def test_odd_entries(payload: bytes, texts: list[str]) -> None:
    assert [line.text for line in decode_log([frame(payload)])] == texts


def test_a_frame_that_is_cut_off_is_dropped() -> None:
    assert [line.text for line in decode_log([frame(STAMP + b"whole\n") + frame(STAMP + b"half\n")[:-3]])] == ["whole"]


def test_a_line_that_never_ends_is_cut() -> None:
    data = [frame(STAMP + b"x" * 16_384)] * (LONGEST_LINE_BYTES // 16_384 + 1)
    assert [len(line.text) for line in decode_log(data)] == [LONGEST_LINE_BYTES, 16_384]


@given(st.lists(st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]))), st.integers(1, 40))
def test_every_text_comes_through(texts: list[str], size: int) -> None:
    data = b"".join(frame(STAMP + text.encode() + b"\n") for text in texts)
    assert [line.text for line in decode_log(cut(data, size))] == texts


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_json_lines_are_whole_however_the_chunks_are_cut(size: int) -> None:
    assert list(decode_json_lines(cut(b'{"a": 1}\r\n\n{"b": "\\n"}\n{"c": 3}', size))) == [
        {"a": 1},
        {"b": "\n"},
        {"c": 3},
    ]


@pytest.mark.parametrize("rest", [b'{"b": ', b"<html>\n"])
def test_json_lines_that_break_off_are_a_broken_stream(rest: bytes) -> None:
    lines = decode_json_lines([b'{"a": 1}\n', rest])
    assert next(lines) == {"a": 1}
    with pytest.raises(StreamBroken):
        next(lines)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02T03:04:05.123456789Z", TIME),
        ("2026-01-02T05:04:05.123456+02:00", TIME),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
        (1767323045, TIME.replace(microsecond=0)),
        (-62135596800, None),
        (0, None),
    ],
)
def test_times(value: str | int | None, expected: datetime | None) -> None:
    assert parse_engine_time(value) == expected


def test_the_gateway_is_the_first_address() -> None:
    assert build_gateway("10.1.2.16/28") == "10.1.2.17"
