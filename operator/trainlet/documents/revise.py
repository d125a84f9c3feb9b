"""A document's new value -> its text with just what differs changed: comments, order and style stay.

What is too unusual for an edit so fine is written anew, as little of it as possible.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from trainlet.documents.edit import EditError, check_edit, is_same, read_values
from trainlet.documents.syntax import Node
from trainlet.documents.text import find_indent, find_line, find_newline, render_json, render_key
from trainlet.documents.write import dump_documents
from trainlet.kube.meta import JSON

#: How deep in a document edits are looked for, one after the other until one works; 0 is the whole of it.
_DEPTHS = (100, 5, 4, 3, 2, 1, 0)


@dataclass(frozen=True)
class _Edit:
    """What stands from `start` to `end` becomes `text`."""

    start: int
    end: int
    text: str


def edit_document(text: str, index: int, new: JSON) -> str:
    """Return the text with this document saying what `new` says. Raises EditError, ParseError."""
    values, section = read_values(text, index)
    if is_same(values.get(index), new):
        return text
    expected = {**values, index: new}
    for depth in _DEPTHS:
        with contextlib.suppress(EditError):
            edits = list(_Changes(text).find(section.root, values.get(index), new, depth))
            return check_edit(_apply(text, edits), expected)
    raise EditError("the document cannot be edited")


def _apply(text: str, edits: Sequence[_Edit]) -> str:
    """Make all edits; those at one place in their own order. Raises EditError where two are about the same text."""
    parts, done = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < done:
            raise EditError("two edits are about the same text")
        parts += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join([*parts, text[done:]])


@dataclass(frozen=True)
class _Changes:
    """Finds the edits of one text."""

    text: str

    def find(self, node: Node, old: Any, new: Any, depth: int) -> Iterator[_Edit]:
        """Yield the edits that make of the value at this node another one."""
        if is_same(old, new):
            return
        if depth and new and isinstance(new, dict) and isinstance(old, dict) and node.is_mapping:
            yield from self._change_mapping(node, old, new, depth - 1)
        elif depth and new and isinstance(new, list) and isinstance(old, list) and node.entries:
            yield from self._change_list(node, old, new, depth - 1)
        elif depth or not isinstance(new, dict):
            raise EditError("only whole documents are written anew here")
        else:
            yield _Edit(node.start, node.end, self._render_document(node, new))

    # Mappings

    def _change_mapping(self, node: Node, old: JSON, new: JSON, depth: int) -> Iterator[_Edit]:
        gone = [key for key in old if key not in new]
        for key in gone:
            yield self._remove_entry(node, key)
        for key, value in new.items():
            if key in old and not is_same(old[key], value):
                yield from self._change_entry(node, key, old[key], value, depth)
        missing = {key: value for key, value in new.items() if key not in old}
        if missing:
            yield self._add_entries(node, missing)

    def _change_entry(self, node: Node, key: str, old: Any, new: Any, depth: int) -> Iterator[_Edit]:
        entry = node.find_entry(key)
        if entry is None:  # it comes from a `<<`, and its own wins
            yield self._add_entries(node, {key: new})
            return
        if depth and new and type(old) is type(new) and isinstance(new, dict | list) and entry[1].entries:
            edits: list[_Edit] | None = None
            with contextlib.suppress(EditError):
                edits = list(self.find(entry[1], old, new, depth))
            if edits is not None:
                yield from edits
                return
        yield self._set_value(node, entry, key, new)

    def _set_value(self, node: Node, entry: tuple[Node, Node], key: str, new: Any) -> _Edit:
        name, value = entry
        if node.is_flow:
            is_bare = value.start == value.end and self.text[value.start - 1] != ":"
            return _Edit(value.start, value.end, f"{': ' if is_bare else ''}{render_json(new)}")
        line = _render_scalar(new)
        if line is None or value.entries or value.start == value.end or "\n" in self.text[value.start : value.end]:
            return _Edit(name.start, value.end, self._indent(_render_block({key: new}), self._get_column(name.start)))
        return _Edit(value.start, value.end, line)

    def _remove_entry(self, node: Node, key: str) -> _Edit:
        entry = node.find_entry(key)
        if entry is None:
            raise EditError("what comes from elsewhere cannot be removed here")
        position = next(i for i, each in enumerate(node.entries) if each is entry)
        following = node.entries[position + 1][0].start if position + 1 < len(node.entries) else None
        if node.is_flow:
            return self._cut_from_flow(node, position, following)
        if find_indent(self.text, entry[0].start) is not None:
            return _Edit(find_line(self.text, entry[0].start), self._find_next_line(entry[1].end), "")
        if following is None:
            raise EditError("nothing would be left on the line")
        return _Edit(entry[0].start, following, "")

    def _cut_from_flow(self, node: Node, position: int, following: int | None) -> _Edit:
        start, end = node.entries[position][0].start, node.entries[position][1].end
        if following is not None:
            return _Edit(start, following, "")
        return _Edit(node.entries[position - 1][1].end if position else start, end, "")

    def _add_entries(self, node: Node, new: JSON) -> _Edit:
        if node.is_flow:
            return self._add_to_flow(node, new)
        first, last = node.entries[0][0].start, node.entries[-1][1].end
        return self._insert_lines(last, _render_block(new), self._get_column(first))

    def _add_to_flow(self, node: Node, new: JSON) -> _Edit:
        if not node.entries:
            inner = render_json(new)[1:-1]
            return _Edit(node.end - 1, node.end - 1, inner)
        (first, _), (_, last) = node.entries[0], node.entries[-1]
        indent = find_indent(self.text, first.start)
        gap = " " if indent is None else f"{find_newline(self.text)}{indent}"
        rendered = (f",{gap}{render_key(node, key)}: {self._render_flow(value, indent)}" for key, value in new.items())
        return _Edit(last.end, last.end, "".join(rendered))

    # Lists

    def _change_list(self, node: Node, old: Sequence[Any], new: Sequence[Any], depth: int) -> Iterator[_Edit]:
        if node.is_flow and len(old) != len(new):
            yield _Edit(node.start, node.end, self._render_flow(new, None))
            return
        matcher = SequenceMatcher(None, list(map(_freeze, old)), list(map(_freeze, new)), autojunk=False)
        for what, start, end, new_start, new_end in matcher.get_opcodes():
            if what == "equal":
                continue
            both = min(end - start, new_end - new_start)
            for offset in range(both):
                yield from self._change_item(node, start + offset, old[start + offset], new[new_start + offset], depth)
            for position in range(start + both, end):
                yield self._remove_item(node, position)
            if new[new_start + both : new_end]:
                yield self._insert_items(node, start + both, new[new_start + both : new_end])

    def _change_item(self, node: Node, position: int, old: Any, new: Any, depth: int) -> Iterator[_Edit]:
        item = node.entries[position][0]
        if depth and new and type(old) is type(new) and isinstance(new, dict | list) and item.entries:
            edits: list[_Edit] | None = None
            with contextlib.suppress(EditError):
                edits = list(self.find(item, old, new, depth))
            if edits is not None:
                yield from edits
                return
        line = _render_scalar(new)
        if node.is_flow:
            yield _Edit(item.start, item.end, self._render_flow(new, None))
        elif line is not None and item.text is not None and "\n" not in self.text[item.start : item.end]:
            yield _Edit(item.start, item.end, line if item.start < item.end else f" {line}")
        else:
            dash = self._find_dash(item)
            yield _Edit(dash, item.end, self._indent(_render_block([new]), self._get_column(dash)))

    def _remove_item(self, node: Node, position: int) -> _Edit:
        item = node.entries[position][0]
        return _Edit(find_line(self.text, self._find_dash(item)), self._find_next_line(item.end), "")

    def _insert_items(self, node: Node, position: int, new: Sequence[Any]) -> _Edit:
        """Insert before this position, right below the item above: comments below that are about what follows."""
        dash = self._find_dash(node.entries[0][0])
        column, rendered = self._get_column(dash), _render_block(list(new))
        if position:
            return self._insert_lines(node.entries[position - 1][1].end, rendered, column)
        line = find_line(self.text, dash)
        return _Edit(line, line, self._lay_out(rendered, column))

    def _find_dash(self, item: Node) -> int:
        line = find_line(self.text, item.start)
        if self.text[line : item.start].strip() != "-":
            raise EditError("an item does not begin a line")
        return self.text.index("-", line)

    # Text

    def _insert_lines(self, after: int, rendered: str, column: int) -> _Edit:
        """Insert lines below the one that a place is in."""
        place, lines = self._find_next_line(after), self._lay_out(rendered, column)
        if place and self.text[place - 1] != "\n":
            newline = find_newline(self.text)
            lines = newline + lines.removesuffix(newline)
        return _Edit(place, place, lines)

    def _find_next_line(self, position: int) -> int:
        """Return the start of the next line, past a comment beside what ends here. Raises EditError for more."""
        end = self.text.find("\n", position)
        rest = (self.text[position:] if end < 0 else self.text[position:end]).strip()
        if rest and not rest.startswith("#"):
            raise EditError("something else follows on the line")
        return len(self.text) if end < 0 else end + 1

    def _lay_out(self, rendered: str, column: int) -> str:
        return " " * column + self._indent(rendered, column) + find_newline(self.text)

    def _indent(self, rendered: str, column: int) -> str:
        """Indent all lines but the first."""
        newline, first, *rest = find_newline(self.text), *rendered.split("\n")
        return first + "".join(f"{newline}{' ' * column}{line}" if line else newline for line in rest)

    def _get_column(self, position: int) -> int:
        return position - find_line(self.text, position)

    def _render_flow(self, value: Any, indent: str | None) -> str:
        rendered = render_json(value, spread=indent is not None)
        return rendered.replace("\n", f"{find_newline(self.text)}{indent or ''}")

    def _render_document(self, node: Node, new: JSON) -> str:
        is_spread = "\n" in self.text[node.start : node.end]
        if node.is_flow:
            return render_json(new, spread=is_spread).replace("\n", find_newline(self.text))
        return self._indent(_render_block(new), self._get_column(node.start))


def _render_block(value: Any) -> str:
    return dump_documents([value]).removeprefix("---\n").removesuffix("\n")


def _render_scalar(value: Any) -> str | None:
    """Return a scalar as a block has it, if that is one line."""
    if isinstance(value, dict | list):
        return None
    rendered = _render_block({"k": value}).removeprefix("k: ")
    return None if "\n" in rendered or rendered == "k:" else rendered


def _freeze(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
