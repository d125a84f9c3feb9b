"""YAML is read as kubectl reads it, with positions, and nothing a file holds can harm the program."""

from typing import Any

import pytest

from trainlet.documents import parse
from trainlet.documents.parse import ParseError, parse_documents


def read(text: str) -> Any:
    """Return the value of the only document."""
    [document] = parse_documents(text.encode())
    return document.value


def fail(data: bytes | str) -> ParseError:
    """Return the error that the text is refused with."""
    with pytest.raises(ParseError) as caught:
        parse_documents(data.encode() if isinstance(data, str) else data)
    return caught.value


SCALARS = {
    "on": True,
    "yes": True,
    "No": False,
    "OFF": False,
    "y": True,
    "n": False,
    "True": True,
    "FALSE": False,
    "tRUE": "tRUE",
    "~": None,
    "NULL": None,
    "nUll": "nUll",
    "0": 0,
    "-0": 0,
    "+1": 1,
    "1_000": 1000,
    "0777": 511,
    "0o777": 511,
    "08": 8,
    "0b11": 3,
    "-0x1F": -31,
    "0x_": "0x_",
    "0b_": "0b_",
    "12:30:45": "12:30:45",
    "1:30": "1:30",
    "1e3": 1000,
    "1e+3": 1000,
    "1.5": 1.5,
    ".5": 0.5,
    "1.": 1,
    "1.0": 1,
    "1.2.3": "1.2.3",
    "2026-01-02": "2026-01-02",
    "2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z",
    "=": "=",
    "+": "+",
    "-x": "-x",
    "9223372036854775807": 9223372036854775807,
    "-9223372036854775808": -9223372036854775808,
    "9223372036854775808": 9223372036854775808.0,
    "0xffffffffffffffffffff": "0xffffffffffffffffffff",
    "1e30": 1e30,
    "'1'": "1",
    '"yes"': "yes",
    "!!str 1": "1",
    "4Gi": "4Gi",
    "100m": "100m",
    "nvidia.com/gpu": "nvidia.com/gpu",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items(), ids=SCALARS)
def test_scalars_mean_what_they_mean_to_kubectl(text: str, value: Any) -> None:
    found = read(f"key: {text}")["key"]
    assert (found, type(found)) == (value, type(value))


KEYS = {"1": "1", "1.5": "1.5", "1.50": "1.5", "y": "true", "No": "false", "~": "null", "0x10": "16", "1e3": "1000"}


@pytest.mark.parametrize(("key", "name"), KEYS.items(), ids=KEYS)
def test_keys_become_text_as_kubectl_makes_them(key: str, name: str) -> None:
    assert read(f"{key}: v") == {name: "v"}


STREAMS: dict[str, tuple[str, list[tuple[int, int, Any]]]] = {
    "empty": ("", []),
    "comments only": ("# nothing\n", []),
    "null documents keep their number": (
        "a: 1\n---\n---\nb: 2\n...\n# x\n---\nnull\n",
        [(0, 1, {"a": 1}), (2, 4, {"b": 2})],
    ),
    "a document after blank lines": ("\n\n---\n\na: 1\n", [(0, 5, {"a": 1})]),
    "a byte-order mark": ("\ufeffa: 1", [(0, 1, {"a": 1})]),
    "Windows line ends": ("a: 1\r\nb:\r\n  - 2\r\n", [(0, 1, {"a": 1, "b": [2]})]),
    "JSON": ('{"a": [1, {"b": null}]}', [(0, 1, {"a": [1, {"b": None}]})]),
    "JSON after a byte-order mark": ('\ufeff{"a": 1}', [(0, 1, {"a": 1})]),
    "JSON indented with tabs": ('{\n\t"a": [\n\t\t1\n\t]\n}\n', [(0, 1, {"a": [1]})]),
    "JSON with Windows line ends": ('{\r\n"a": 1,\r\n"b": 2\r\n}\r\n', [(0, 1, {"a": 1, "b": 2})]),
    "JSON with a character in two escapes": (r'{"a\uD83D\uDE00": "\ud83d\ude00!"}', [(0, 1, {"a😀": "😀!"})]),
    "a list in JSON with one": (r' ["\ud83d\ude00"]', [(0, 1, ["😀"])]),
    "what only looks like two escapes": (
        r'{"a": "\\ud83d\\ude00", "b": "\\\ud83d\ude00", "c": "\"\ud83d\ude00"}',
        [(0, 1, {"a": r"\ud83d\ude00", "b": "\\😀", "c": '"😀'})],
    ),
    "escapes that are none in YAML": (r"{a: '\ud83d\ude00'}", [(0, 1, {"a": r"\ud83d\ude00"})]),
    "old Mac line ends": ("a: 1\rb: 2\r", [(0, 1, {"a": 1, "b": 2})]),
    "NUL as an escape": (r'a: "\0"', [(0, 1, {"a": "\0"})]),
    "tabs inside of a line": ("a:\t1\t# x\n", [(0, 1, {"a": 1})]),
    "a YAML directive": ("%YAML 1.1\n---\na: 1\n", [(0, 3, {"a": 1})]),
    "an alias": ("a: &x [1]\nb: *x\n", [(0, 1, {"a": [1], "b": [1]})]),
    "an anchor ends with its document": (
        "a: &x 1\n---\na: &x 2\nb: *x\n",
        [(0, 1, {"a": 1}), (1, 3, {"a": 2, "b": 2})],
    ),
    "a merge": ("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\n", [(0, 1, {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}})]),
    "merges: the first counts": ("<<: [{a: 1}, {a: 2, b: 3}]\n", [(0, 1, {"a": 1, "b": 3})]),
    "text over lines": ("a: >\n  one\n  two\nb: |-\n  x\n  y\n", [(0, 1, {"a": "one two\n", "b": "x\ny"})]),
    "not ASCII": ("name: Grüße 🚂\n", [(0, 1, {"name": "Grüße 🚂"})]),
}


@pytest.mark.parametrize(("text", "documents"), STREAMS.values(), ids=STREAMS)
def test_streams(text: str, documents: list[tuple[int, int, Any]]) -> None:
    assert [(d.index, d.line, d.value) for d in parse_documents(text.encode())] == documents


REFUSED: dict[str, tuple[bytes | str, int, int, str]] = {
    # name: (text, line, column, words of the message)
    "a broken mapping": ("a: 1\nb: c: d\n", 2, 5, "mapping values are not allowed"),
    "an open quote": ("a: 'x", 1, 6, "unexpected end of stream"),
    "a tab as indentation": ("a:\n\tb: 1\n", 2, 1, "cannot start any token"),
    "bad indentation": ("a: |\n  x\n y\n", 3, 2, "did not find expected key"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", 3, 1, 'key "a" is there twice'),
    "a key twice in flow style": ("{a: 1, b: {c: 1, c: 2}}", 1, 18, 'key "c" is there twice'),
    "a key twice in two spellings": ("1: a\n0x1: b\n", 2, 1, 'key "1" is there twice'),
    "a key that is a list": ("? [a]\n: 1\n", 1, 3, "a key must be a plain word"),
    "not a number": ("a: .nan\n", 1, 4, "not a JSON number"),
    "infinity": ("a:\n- -.inf\n", 2, 3, "not a JSON number"),
    "too large a number": ("a: 1e400\n", 1, 4, "not a JSON number"),
    "too long a number": (f"a: {'9' * 5000}\n", 1, 4, "not a JSON number"),
    "an alias of nothing": ("a: 1\nb: *x\n", 2, 4, "this alias has no anchor"),
    "an alias of what holds it": ("a: &x {b: *x}\n", 1, 11, "this alias has no anchor"),
    "a merge with null": ("a:\n  <<:\n", 2, 6, "only mappings can be merged"),
    "a merge with a list of numbers": ("<<: [1]\n", 1, 5, "only mappings can be merged"),
    "not UTF-8": (b"a: 1\nb: \xff\n", 2, 4, "not UTF-8"),
    "UTF-16": ("a: 1\n".encode("utf-16"), 1, 1, "not UTF-8"),
    "a control character": ("a: 1\nb: \x07\n", 2, 4, "#x0007 is not allowed"),
    "binary": (b"\x00\x01\x02", 1, 1, "#x0000 is not allowed"),
    "an unknown directive": ("%FOO\n---\na: 1\n", 1, 5, "unknown directive"),
    "half a surrogate": ('"\\uD800"\n', 1, 4, "invalid Unicode"),
}


REMEDIES: dict[str, tuple[bytes | str, str]] = {
    "a tab as indentation": ("a:\n\tb: 1\n", "indent with spaces"),
    "a tab after spaces": ("a:\n  b: 1\n\tc: 2\n", "indent with spaces"),
    "NUL": ("a: \0", "remove it, or write it as an escape in double quotes"),
    "a form feed": ("\f", "remove it, or write it as an escape in double quotes"),
    "a byte-order mark between two files": ("a: 1\n\ufeffb: 2\n", "remove the byte-order mark"),
    "half a surrogate": ('"\\uD800"', "write the character itself"),
    "half a surrogate in JSON": (r'{"a": "\ud83d\ude00\ud83d"}', "write the character itself"),
    "two escapes in YAML": (r'a: "\ud83d\ude00"', "write the character itself"),
    "Latin-1": ("a: ü".encode("latin-1"), "save the file as UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "save the file as UTF-8"),
    "a character cut in two": ("a: ü".encode()[:-1], "save the file as UTF-8"),
}


@pytest.mark.parametrize(("data", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_a_refusal_says_what_to_do(data: bytes | str, remedy: str) -> None:
    assert remedy in fail(data).remedy


@pytest.mark.parametrize(("data", "line", "column", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_and_where(data: bytes | str, line: int, column: int, words: str) -> None:
    error = fail(data)
    assert (error.line, error.column) == (line, column)
    assert words in str(error)
    assert f"(line {line}, column {column})" in str(error)
    assert "\n" not in str(error)


BOMBS = {
    "brackets": "[" * 100_000,
    "braces": "{a: " * 100_000,
    "dashes": "- " * 100_000,
    "billion laughs": "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)),
    "billion merges": "a0: &a0 {k0: 1}\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 30)),
    "a tower of aliases": "a0: &a0 1\n" + "".join(f"a{i}: &a{i} [[[[[[[[[[*a{i - 1}]]]]]]]]]]\n" for i in range(1, 20)),
    "documents": "--- 1\n" * (parse.MAX_DOCUMENTS + 1),
    "bytes": "a" * (parse.MAX_BYTES + 1),
    "values": f"[{'1,' * parse.MAX_NODES}]",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
@pytest.mark.timeout(10)
def test_bombs_are_refused(text: str) -> None:
    assert str(fail(text))


def test_what_is_just_not_too_much_is_taken() -> None:
    levels = parse.MAX_DEPTH + 1  # the outermost is level 0
    assert read("[" * levels + "]" * levels)
    assert len(parse_documents(b"--- 1\n" * parse.MAX_DOCUMENTS)) == parse.MAX_DOCUMENTS
    fail("[" * (levels + 1) + "]" * (levels + 1))


def test_the_limit_on_depth_follows_aliases() -> None:
    half = parse.MAX_DEPTH // 2
    deep = "[" * half + "]" * half
    assert read(f"a: &x {deep}\nb: {'[' * half}*x{']' * half}\n")
    fail(f"a: &x {deep}\nb: {'[' * (half + 1)}*x{']' * (half + 1)}\n")


MANIFEST = """\
# a comment
spec:
  env:
    - name: A
      value: b
  args: [x, 'y']
  res: {cpu: 1}
---
kind: x
"""
POSITIONS: dict[tuple[str | int, ...], tuple[int, int]] = {
    (): (2, 1),
    ("spec",): (3, 3),
    ("spec", "env"): (4, 5),
    ("spec", "env", 0): (4, 7),
    ("spec", "env", 0, "value"): (5, 14),
    ("spec", "args"): (6, 9),
    ("spec", "args", 1): (6, 13),
    ("spec", "res", "cpu"): (7, 14),
    # What is not there is looked for at its nearest parent.
    ("spec", "res", "memory"): (7, 8),
    ("spec", "env", 7, "name"): (4, 5),
    ("status",): (2, 1),
}


@pytest.mark.parametrize(("path", "position"), POSITIONS.items(), ids=map(str, POSITIONS))
def test_every_value_has_its_position(path: tuple[str | int, ...], position: tuple[int, int]) -> None:
    [first, _] = parse_documents(MANIFEST.encode())
    assert first.find_position(path) == position


def test_positions_count_from_the_start_of_the_file() -> None:
    [_, second] = parse_documents(MANIFEST.encode())
    assert (second.index, second.line, second.find_position(("kind",))) == (1, 9, (9, 7))


def test_an_alias_has_the_position_of_its_use() -> None:
    [document] = parse_documents(b"a: &x {k: 1}\nb: *x\n")
    assert document.find_position(("b", "k")) == (2, 4)


def test_positions_count_characters_not_bytes() -> None:
    [document] = parse_documents("ä: {ü: 1, k: 2}\n".encode())
    assert document.find_position(("ä", "k")) == (1, 14)


def test_a_character_in_two_escapes_moves_nothing() -> None:
    text = r'{"\ud83d\ude00": {"a": "\ud83d\ude00", "b": 1}}'
    [document] = parse_documents(text.encode())
    assert document.find_position(("😀", "b")) == (1, text.index("1") + 1)
    assert fail(text.replace("1}", "1, b: 2}").replace("b:", '"b":')).column == text.index("}") + 3
