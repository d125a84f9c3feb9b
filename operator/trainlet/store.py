"""Objects by key, with resource versions and subscriptions. Thread-safe; knows nothing of what objects mean.

Objects that are put are never changed in place, by anyone. Only `registry.py` writes.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from trainlet.kube.meta import JSON, ObjectKey, get_metadata


class ChangeType(StrEnum):
    """What became of an object, in a watch's words."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True)
class Change:
    """One change of the store."""

    type: ChangeType
    key: ObjectKey
    object: JSON


class Store:
    """All objects of one operator. Subscribers are called in the order of changes, outside of the lock's readers."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._objects: dict[ObjectKey, JSON] = {}
        self._version = 0
        self._subscribers: list[Callable[[Change], None]] = []

    def get(self, key: ObjectKey) -> JSON | None:
        """Return the object, or None."""
        with self._lock:
            return self._objects.get(key)

    def list(self, kind: str, namespace: str | None = None) -> list[JSON]:
        """Return the objects of a kind in the order of their keys."""
        with self._lock:
            keys = [k for k in self._objects if k.kind == kind and namespace in (None, k.namespace)]
            return [self._objects[key] for key in sorted(keys)]

    def put(self, key: ObjectKey, document: JSON) -> JSON:
        """Store an object and return it with its new version; one that says nothing new keeps its old one."""
        with self._lock:
            old = self._objects.get(key)
            if old is not None and _without_version(old) == _without_version(document):
                return old
            self._version = max(self._version, _version_of(document)) + 1
            metadata = {**get_metadata(document), "resourceVersion": str(self._version)}
            new = {**document, "metadata": metadata}
            self._objects[key] = new
            self._tell(Change(ChangeType.ADDED if old is None else ChangeType.MODIFIED, key, new))
            return new

    def restore(self, key: ObjectKey, document: JSON) -> None:
        """Take up an object as an earlier run left it, its version included."""
        with self._lock:
            self._version = max(self._version, _version_of(document))
            self._objects[key] = document
            self._tell(Change(ChangeType.ADDED, key, document))

    def delete(self, key: ObjectKey) -> None:
        """Forget an object; one that is not there counts as forgotten."""
        with self._lock:
            old = self._objects.pop(key, None)
            if old is not None:
                self._version += 1
                self._tell(Change(ChangeType.DELETED, key, old))

    def subscribe(self, subscriber: Callable[[Change], None]) -> None:
        """Call this for every later change. It must be quick and must not write to the store."""
        with self._lock:
            self._subscribers.append(subscriber)

    def _tell(self, change: Change) -> None:
        for subscriber in self._subscribers:
            subscriber(change)


def _version_of(document: JSON) -> int:
    text = get_metadata(document).get("resourceVersion", "0")
    return int(text) if str(text).isdigit() else 0


def _without_version(document: JSON) -> JSON:
    metadata = {k: v for k, v in get_metadata(document).items() if k != "resourceVersion"}
    return {**document, "metadata": metadata}
