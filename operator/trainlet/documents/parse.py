"""YAML and JSON text -> wire objects, read as kubectl reads them, with limits and positions.

Built on PyYAML's C event parser, because its composer recurses: a small file of brackets would end the
process. Nothing here knows what the documents mean.
"""

import json
import math
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from trainlet.kube.errors import FieldError, TrainletError
from trainlet.kube.meta import JSON

MAX_BYTES = 3 << 20  # what an API server takes in one request
MAX_DEPTH = 100
MAX_NODES = 50_000  # after aliases are followed, so that an alias bomb counts in full
MAX_DOCUMENTS = 1000
MOST_SHOWN = 100  # characters of what is refused

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ParseError(TrainletError):
    """A text that is not YAML, or not YAML that we take. Positions are 1-based."""

    def __init__(self, what: str, line: int, column: int, remedy: str = "") -> None:
        super().__init__(what, where=f"line {line}, column {column}", remedy=remedy)
        self.line, self.column = line, column

    def to_field_error(self) -> FieldError:
        """Return the error as admission's others; its position is in fields of its own."""
        detail = f"{self.what}: {self.remedy}" if self.remedy else self.what
        return FieldError("", "Invalid value", detail, stage="parse", line=self.line, column=self.column)


Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """One document of a file. `marks` are the parser's own, of every value by its path; read few of very many."""

    index: int
    line: int
    value: Any = field(repr=False)
    marks: dict[Path, Any] = field(repr=False, compare=False)

    def find_position(self, path: Path) -> tuple[int, int]:
        """Return line and column (1-based) of the value at this path, or of its nearest parent."""
        while path and path not in self.marks:
            path = path[:-1]
        mark = self.marks.get(path)
        return (mark.line + 1, mark.column + 1) if mark else (self.line, 1)


def parse_documents(data: bytes) -> list[Document]:
    """Return the documents of a file that hold something. Raises ParseError."""
    if len(data) > MAX_BYTES:
        raise ParseError(f"the file has more than {MAX_BYTES} bytes", 1, 1, "split it")
    text = join_surrogates(_decode(data))
    return [document for document in _Builder(text).build() if document.value is not None]


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - before.rfind(b"\n")
        raise ParseError("this byte is not UTF-8", line, column, "save the file as UTF-8") from None


_PAIR = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_PAIR_OR_ESCAPE = re.compile(rf"{_PAIR.pattern}|\\.")
_JSON_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')


def join_surrogates(text: str) -> str:
    """Replace what JSON writes as two escapes by the character it means: libyaml refuses half a character.

    A string becomes shorter by this; spaces behind it keep the position of what follows.
    """
    if not text.lstrip().startswith(("{", "[")) or not _PAIR.search(text) or not _is_json(text):
        return text
    return _JSON_STRING.sub(lambda match: _PAIR_OR_ESCAPE.sub(_join_pair, match[0]).ljust(len(match[0])), text)


def _join_pair(match: re.Match[str]) -> str:
    high, low = match.groups()
    if high is None:
        return match[0]
    return chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=float)  # float, because long digits take int() quadratic time
    except (ValueError, RecursionError):
        return False
    return True


def _shorten(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _find_remedy(problem: str, around: str) -> str:
    """Find what to do about what libyaml says of the characters around a place."""
    if around.endswith("\t"):
        return "indent with spaces"
    if "\ufeff" in around:
        return "remove the byte-order mark before this place"
    return "write the character itself" if "Unicode character escape" in problem else ""


def _locate_character(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


@dataclass(frozen=True)
class _Anchor:
    """A value that aliases repeat: `size` in values and `height` in levels, its own aliases followed."""

    value: Any
    size: int
    height: int


class _Builder:
    """Turns one stream of parser events into documents."""

    def __init__(self, text: str) -> None:
        self.events = self._read(text)
        self.nodes = 0
        self.deepest = 0
        self.anchors: dict[str, _Anchor] = {}
        self.marks: dict[Path, Any] = {}

    @staticmethod
    def _read(text: str) -> Iterator[Any]:
        loader = _Loader(text)
        try:
            while (event := loader.get_event()) is not None:
                yield event
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            problem = error.problem or error.context or ""
            remedy = _find_remedy(problem, text[max(mark.index - 1, 0) : mark.index + 1] if mark else "")
            raise ParseError(f"not valid YAML: {problem}", line, column, remedy) from None
        except yaml.reader.ReaderError as error:
            what = f"not valid YAML: the character #x{error.character:04x} is not allowed"
            remedy = "remove it, or write it as an escape in double quotes"
            raise ParseError(what, *_locate_character(text, error.position), remedy) from None
        finally:
            loader.dispose()

    def build(self) -> Iterator[Document]:
        index = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if index >= MAX_DOCUMENTS:
                    raise self._fail(event, f"more than {MAX_DOCUMENTS} documents in one file", "split the file")
                self.anchors, self.marks = {}, {}
                first = next(self.events)
                value = self._build_node(first, (), 0)
                yield Document(index, first.start_mark.line + 1, value, self.marks)
                index += 1

    def _build_node(self, event: Any, path: Path, depth: int) -> Any:
        self.marks[path] = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            return self._follow(event, depth)
        if isinstance(event, yaml.ScalarEvent) and not event.anchor:  # most of a file, so the shortest way
            self._count(event, 1, depth)
            return self._build_scalar(event)
        nodes, deepest = self.nodes, self.deepest
        self.deepest = 0
        self._count(event, 1, depth)
        if isinstance(event, yaml.ScalarEvent):
            value: Any = self._build_scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._build_sequence(path, depth)
        else:
            value = self._build_mapping(path, depth)
        if event.anchor:
            self.anchors[event.anchor] = _Anchor(value, self.nodes - nodes, self.deepest - depth)
        self.deepest = max(self.deepest, deepest)
        return value

    def _build_sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._build_node(event, (*path, len(items)), depth + 1))
        return items

    def _build_mapping(self, path: Path, depth: int) -> JSON:
        own: JSON = {}
        merged: JSON = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                merged = {**self._build_merge(path, depth), **merged}
                continue
            key = self._build_key(event)
            if key in own:
                raise self._fail(event, f'key "{_shorten(key)}" is there twice in one mapping', "remove one of them")
            own[key] = self._build_node(next(self.events), (*path, key), depth + 1)
        return {**merged, **own}

    def _build_merge(self, path: Path, depth: int) -> JSON:
        event = next(self.events)
        value = self._build_node(event, (*path, "<<"), depth + 1)
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            raise self._fail(event, "only mappings can be merged with <<")
        return {key: item for part in reversed(parts) for key, item in part.items()}

    def _build_key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._fail(event, "a key must be a plain word")
        value = self._build_scalar(event)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "null" if value is None else str(value)

    def _build_scalar(self, event: Any) -> Any:
        if event.style or not event.implicit[0]:
            return event.value
        value = resolve_scalar(event.value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self._fail(event, f"{_shorten(event.value)} is not a JSON number", "quote it if it is text")
        return value

    def _follow(self, event: Any, depth: int) -> Any:
        anchor = self.anchors.get(event.anchor)
        if anchor is None:  # it may be a password that was meant as text, so it is not repeated
            raise self._fail(event, "this alias has no anchor before it", "quote it if it is text")
        self._count(event, anchor.size, depth + anchor.height)
        return anchor.value

    def _count(self, event: Any, nodes: int, depth: int) -> None:
        self.nodes += nodes
        if depth > self.deepest:
            self.deepest = depth
        if self.nodes > MAX_NODES:
            raise self._fail(event, f"more than {MAX_NODES} values, aliases counted in full", "split the file")
        if depth > MAX_DEPTH:
            raise self._fail(event, f"nested more than {MAX_DEPTH} levels deep")

    @staticmethod
    def _fail(event: Any, what: str, remedy: str = "") -> ParseError:
        return ParseError(what, event.start_mark.line + 1, event.start_mark.column + 1, remedy)


_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_WORDS: dict[Hashable, Any] = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False), **dict.fromkeys(_NULL)}

#: Plain scalars as kubectl takes them (YAML 1.1 of sigs.k8s.io/yaml); dates and sexagesimals stay text.
_INTEGERS = tuple(
    (re.compile(pattern), base)
    for pattern, base in (
        (r"[-+]?(?:0|[1-9][0-9]*)", 10),
        (r"[-+]?0b[01]+", 2),
        (r"[-+]?0x[0-9a-fA-F]+", 16),
        (r"[-+]?0o[0-7]+", 8),
        (r"[-+]?0[0-7]+", 8),
    )
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_INTEGER = len("-0b") + 64


def resolve_scalar(text: str) -> Any:
    """Return what a plain scalar means to kubectl: null, a bool, a number, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    integer = _find_integer(digits)
    if integer is not None:
        return integer
    if _FLOAT.fullmatch(digits):
        return _read_float(digits)
    return math.inf if _NO_NUMBER.fullmatch(text) else text


def _find_integer(digits: str) -> int | None:
    """Return the 64-bit integer that this is; kubectl reads longer decimal ones as floats and others as text."""
    if len(digits) > _LONGEST_INTEGER:
        return None
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(digits):
            value = int(digits, base)
            return value if -(2**63) <= value < 2**63 else None
    return None


def _read_float(digits: str) -> int | float:
    value = float(digits)
    return int(value) if value.is_integer() and abs(value) < 2**63 else value
