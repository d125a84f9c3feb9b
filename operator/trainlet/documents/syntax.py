"""Where things stand in a YAML or JSON text: its documents and their nodes, by character offsets.

For edits only: nothing is resolved. The text has already been taken by `documents.parse`, so its depth is bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from trainlet.documents.parse import join_surrogates

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Node:
    """One value. `end` is after its last character, before any comment or line end.

    `text` is a scalar's. `entries` are a mapping's keys and values; a sequence's items stand as both.
    """

    start: int
    end: int
    text: str | None = None
    is_mapping: bool = False
    is_flow: bool = False
    entries: tuple[tuple["Node", "Node"], ...] = ()

    def find_entry(self, key: str | int) -> tuple["Node", "Node"] | None:
        """Return the key and value of an entry, or None."""
        if isinstance(key, int):
            return None if self.is_mapping or key >= len(self.entries) else self.entries[key]
        return next((entry for entry in self.entries if self.is_mapping and entry[0].text == key), None)


@dataclass(frozen=True)
class Section:
    """One document. Its sections cover a text; `body_end` is where a line can be added to this one."""

    start: int
    body_end: int
    end: int
    root: Node


def read_sections(text: str) -> list[Section]:
    """Return the documents of a text, those that hold nothing too. Raises yaml.YAMLError."""
    events: Iterator[Any] = iter(yaml.parse(join_surrogates(text), Loader=_Loader))
    found = [_read_document(text, event, events) for event in events if isinstance(event, yaml.DocumentStartEvent)]
    starts = [0, *(start for start, _, _ in found[1:])]
    ends = [*starts[1:], len(text)]
    return [
        Section(start, body_end, end, root)
        for start, end, (_, root, body_end) in zip(starts, ends, found, strict=False)
    ]


def _read_document(text: str, start: Any, events: Iterator[Any]) -> tuple[int, Node, int]:
    root = _read_node(text, next(events), events)
    return start.start_mark.index, root, next(events).start_mark.index


def _read_node(text: str, event: Any, events: Iterator[Any]) -> Node:
    if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
        return _read_collection(text, event, events)
    start, end = event.start_mark.index, event.end_mark.index
    if getattr(event, "style", None) in ("|", ">"):
        # The marks of block scalars take in the blank lines that follow.
        end = start + len(text[start:end].rstrip())
    return Node(start, end, getattr(event, "value", None))


def _read_collection(text: str, start: Any, events: Iterator[Any]) -> Node:
    is_mapping = isinstance(start, yaml.MappingStartEvent)
    entries: list[tuple[Node, Node]] = []
    while not _is_end(event := next(events)):
        key = _read_node(text, event, events)
        entries.append((key, _read_node(text, next(events), events) if is_mapping else key))
    # A block's own end mark is where the next thing begins, past comments that are not its own.
    end = event.end_mark.index if start.flow_style else entries[-1][1].end
    return Node(start.start_mark.index, end, None, is_mapping, bool(start.flow_style), tuple(entries))


def _is_end(event: Any) -> bool:
    return isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent)
