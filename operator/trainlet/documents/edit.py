"""Edits of manifests as text: one field, one document, one block; every other byte stays as the user wrote it.

Each edit is read back and compared with what was meant, so a text too unusual to be edited is refused, never damaged.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainlet.documents.parse import ParseError, parse_documents
from trainlet.documents.syntax import Node, Section, read_sections
from trainlet.documents.text import find_indent, find_line, find_newline, render_json, render_key
from trainlet.documents.write import dump_documents, write_atomic
from trainlet.kube.errors import TrainletError

Scalar = str | int | float | bool | None
Values = dict[int, Any]

_BOM = "\ufeff"


class EditError(TrainletError):
    """A text that cannot be edited without a change to something else."""

    def __init__(self, what: str) -> None:
        super().__init__(what, remedy="edit the file by hand")


def set_field(text: str, document_index: int, path: Sequence[str | int], value: Scalar) -> str:
    """Return the text with the scalar at this path replaced or added. Raises EditError, ParseError."""
    values, section = read_values(text, document_index)
    expected = {**values, document_index: _put(values.get(document_index), path, value)}
    node = section.root
    for depth, key in enumerate(path):
        entry = node.find_entry(key)
        if entry is None:
            missing = path[depth:]
            return check_edit(_add(text, section, node, missing, value), expected)
        node = entry[1]
    return check_edit(_replace(text, node, render_json(value)), expected)


def splice_block(text: str, document_index: int, key: str, block: Mapping[str, Any]) -> str:
    """Return the text with this top-level block replaced, or added at the end. Raises EditError, ParseError."""
    values, section = read_values(text, document_index)
    expected = {**values, document_index: _put(values.get(document_index), (key,), block)}
    entry = section.root.find_entry(key)
    if entry is None:
        return check_edit(_add(text, section, section.root, (key,), block), expected)
    start = entry[0].start
    new = _render_entry(text, section.root, key, block, start)
    return check_edit(text[:start] + new + text[entry[1].end :], expected)


def remove_document(text: str, index: int) -> str:
    """Return the text without this document and its comments. Raises EditError, ParseError."""
    values, section = read_values(text, index)
    expected = {i if i < index else i - 1: value for i, value in values.items() if i != index}
    return check_edit(text[: section.start] + text[section.end :], expected)


def rewrite_file(path: Path, edit: Callable[[str], str]) -> None:
    """Replace a file's text by what `edit` makes of it, in one step; its mode stays, a link stays a link.

    Nothing is written if nothing changes. Raises what `edit` raises, and OSError.
    """
    path = path.resolve()
    old = path.read_bytes().decode("utf-8")
    bom = _BOM if old.startswith(_BOM) else ""
    new = bom + edit(old.removeprefix(_BOM))
    if new != old:
        write_atomic(path, new, mode=path.stat().st_mode & 0o7777)


def read_values(text: str, index: int) -> tuple[Values, Section]:
    """Return what all documents say, and where one of them stands. Raises EditError, ParseError."""
    values = _parse(text)
    sections = read_sections(text)
    if index >= len(sections):
        raise EditError(f"the file has no document {index + 1}")
    return values, sections[index]


def _parse(text: str) -> Values:
    return {document.index: document.value for document in parse_documents(text.encode("utf-8"))}


def check_edit(new: str, expected: Values) -> str:
    """Return the text if its documents say what is expected. Raises EditError."""
    with contextlib.suppress(ParseError):
        if is_same(_parse(new), expected):
            return new
    raise EditError("the file is written in a way that this edit could damage")


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two documents are equal; to Python 1 is True."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _put(document: Any, path: Sequence[str | int], value: Any) -> Any:
    """Return the document with the value at this path, a null or a missing mapping on the way made one."""
    if not path:
        return value
    key, *rest = path
    if isinstance(key, str) and (document is None or isinstance(document, dict)):
        document = document or {}
        return {**document, key: _put(document.get(key), rest, value)}
    if isinstance(key, int) and isinstance(document, list) and key < len(document):
        return [*document[:key], _put(document[key], rest, value), *document[key + 1 :]]
    raise EditError(f"there is no place for {'.'.join(map(str, path))} in the document")


def _replace(text: str, node: Node, new: str) -> str:
    if node.start == node.end and node.start:
        # `key:` with nothing behind it, or in a flow mapping even a key without colon.
        new = f" {new}" if text[node.start - 1] in ":-" else f": {new}"
    return text[: node.start] + new + text[node.end :]


def _add(text: str, section: Section, node: Node, path: Sequence[str | int], value: Any) -> str:
    """Add an entry to the node, with mappings around the value as the path goes on."""
    key, *rest = map(str, path)
    for name in reversed(rest):
        value = {name: value}
    if not node.is_mapping:
        return _replace(text, node, render_json({key: value}))
    if node.is_flow:
        return _add_to_flow(text, node, key, value)
    if node is section.root:
        return _add_last(text, section, key, value)
    return _add_first(text, node, key, value)


def _add_to_flow(text: str, node: Node, key: str, value: Any) -> str:
    if not node.entries:
        end = node.end - 1
        return text[:end] + _render_entry(text, node, key, value, end) + text[end:]
    last_key, last_value = node.entries[-1]
    indent = find_indent(text, last_key.start)
    separator = ", " if indent is None else f",{find_newline(text)}{indent}"
    entry = _render_entry(text, node, key, value, last_key.start)
    return text[: last_value.end] + separator + entry + text[last_value.end :]


def _add_last(text: str, section: Section, key: str, value: Any) -> str:
    """Add an entry at the end of a document's own block mapping."""
    before, newline = text[: section.body_end], find_newline(text)
    gap = "" if before.endswith("\n") else newline
    first = section.root.entries[0][0].start
    indent = find_indent(text, first) or ""
    entry = _render_entry(text, section.root, key, value, first)
    return f"{before}{gap}{indent}{entry}{newline}{text[section.body_end :]}"


def _add_first(text: str, node: Node, key: str, value: Any) -> str:
    """Add an entry as the first of a nested block mapping: where that begins is certain, where it ends is not."""
    first = node.entries[0][0].start
    indent = find_indent(text, first)
    entry = f"{render_key(node, key)}: {render_json(value)}{find_newline(text)}"
    if indent is None:
        column = first - find_line(text, first)
        return f"{text[:first]}{entry}{' ' * column}{text[first:]}"
    place = _skip_comments(text, find_line(text, first))
    return f"{text[:place]}{indent}{entry}{text[place:]}"


def _skip_comments(text: str, line: int) -> int:
    """Return the start of the comment lines right above this line: they are about it."""
    while line and text[(above := find_line(text, line - 1)) : line].lstrip(" ").startswith("#"):
        line = above
    return line


def _render_entry(text: str, node: Node, key: str, value: Any, beside: int) -> str:
    """Return `key: value` for a mapping, in its style and indented like the entry that stands at `beside`."""
    indent = find_indent(text, beside)
    if node.is_flow:
        rendered = f"{render_key(node, key)}: {render_json(value, spread=indent is not None and bool(node.entries))}"
    elif isinstance(value, Mapping):
        rendered = dump_documents([{key: dict(value)}]).removeprefix("---\n").removesuffix("\n")
    else:
        rendered = f"{render_key(node, key)}: {render_json(value)}"
    first, *rest = rendered.split("\n")
    newline = find_newline(text)
    return first + "".join(f"{newline}{indent or ''}{line}" if line else newline for line in rest)
