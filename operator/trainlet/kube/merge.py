"""Edits of wire lists and maps by key, as upserts. Nothing is changed in place."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainlet.kube.meta import JSON


def upsert(items: Sequence[JSON], new: Iterable[JSON], key: str = "name") -> list[JSON]:
    """Return the list with each new item in the place of the one with its key, or at the end."""
    merged = {item.get(key): item for item in items}
    for item in new:
        merged[item.get(key)] = item
    return list(merged.values())


def put(document: Mapping[str, Any], path: Sequence[str], value: Any) -> JSON:
    """Return the document with the value at this path, making the maps on the way."""
    head, *rest = path
    if not rest:
        return {**document, head: value}
    below = document.get(head)
    return {**document, head: put(below if isinstance(below, Mapping) else {}, rest, value)}


def find(document: Any, *path: str | int) -> Any:
    """Return what is at this path, or None where the path ends early."""
    for step in path:
        if isinstance(step, int):
            document = document[step] if isinstance(document, list) and step < len(document) else None
        else:
            document = document.get(step) if isinstance(document, dict) else None
    return document
