"""Objects by key, with resource versions, indexes and subscriptions. Thread-safe; knows nothing of what objects mean.

Objects that are put are never changed in place, by anyone. Only `registry.py` writes.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from trainlet.kube.meta import JSON, ObjectKey, get_metadata


class ChangeType(StrEnum):
    """What became of an object, in a watch's words."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True)
class Change:
    """One change of the store. What is deleted is told as it was, with the version of its deletion.

    `old` is what was there before.
    """

    type: ChangeType
    key: ObjectKey
    object: JSON
    old: JSON | None = None


#: Reads from an object the value that an index finds it by; None: it is not in that index.
Indexer = Callable[[ObjectKey, JSON], Hashable]
_Keys: TypeAlias = list[ObjectKey]  # the class has a method of that name
_Objects: TypeAlias = list[JSON]
#: Restores what is away.
Recall = Callable[[ObjectKey], object]
#: Takes a version that is about to be given out, and returns up to which more may be without asking again.
Reserve = Callable[[int], int]


@dataclass(frozen=True)
class Snapshot:
    """Objects as they were at one version of the store: whatever changed later has a higher one."""

    objects: _Objects
    version: int


class Store:
    """All objects of one operator. Subscribers are called in the order of changes, outside of the lock's readers.

    An object may be away: known by its key and its indexes, and out of memory until somebody asks for it. Nobody
    who asks can tell, except by the time it takes.

    Versions are higher than `version`, what an earlier run may have given out; `reserve` makes them known to the next.
    """

    def __init__(self, version: int = 0, reserve: Reserve | None = None) -> None:
        self._lock = threading.RLock()
        self._objects: dict[ObjectKey, JSON] = {}
        self._away: dict[ObjectKey, Recall] = {}
        self._places: defaultdict[str, defaultdict[str, set[ObjectKey]]] = defaultdict(lambda: defaultdict(set))
        self._indexers: dict[str, Indexer] = {}
        self._indexes: dict[str, _Index] = {}
        self._version, self._reserved, self._reserve = version, version, reserve
        self._is_recalling = False
        self._subscribers: list[Callable[[Change], None]] = []

    def add_index(self, name: str, read: Indexer) -> None:
        """Let objects be found by what `read` says of them, those too that are in memory already."""
        with self._lock:
            self._indexers[name], self._indexes[name] = read, _Index()
            for key, document in self._objects.items():
                self._indexes[name].put(key, read(key, document))

    def get(self, key: ObjectKey) -> JSON | None:
        """Return the object, or None."""
        with self._lock:
            self._recall(key)
            return self._objects.get(key)

    def list(self, kind: str, namespace: str | None = None) -> list[JSON]:
        """Return the objects of a kind in the order of their keys."""
        with self._lock:
            return self._get_all(self.list_keys(kind, namespace))

    @property
    def version(self) -> int:
        """The highest version there is."""
        with self._lock:
            return self._version

    def take_snapshot(self, kind: str, namespace: str | None = None) -> Snapshot:
        """Return the objects of a kind in the order of their keys, and the version at which they are these."""
        with self._lock:
            return Snapshot(self.list(kind, namespace), self._version)

    def take_snapshot_by(self, index: str, values: Iterable[Hashable]) -> Snapshot:
        """Return the objects that an index finds by some values, and the version at which they are these."""
        with self._lock:
            return Snapshot([each for value in values for each in self.list_by(index, value)], self._version)

    def list_namespaces(self) -> set[str]:
        """Return the namespaces that any object is in; what is away stays away."""
        with self._lock:
            found = {namespace for places in self._places.values() for namespace, keys in places.items() if keys}
            return found - {""}

    def list_keys(self, kind: str, namespace: str | None = None) -> _Keys:
        """Return the keys of a kind in their order; what is away stays away."""
        with self._lock:
            places = self._places[kind]
            found = places.values() if namespace is None else (places.get(namespace, ()),)
            return sorted(key for keys in found for key in keys)

    def list_by(self, index: str, value: Hashable) -> _Objects:
        """Return the objects that an index finds by a value, in the order of their keys."""
        with self._lock:
            return self._get_all(self.list_keys_by(index, value))

    def list_keys_by(self, index: str, value: Hashable) -> _Keys:
        """Return the keys that an index finds by a value, in their order; what is away stays away."""
        with self._lock:
            return self._indexes[index].find(value)

    def count_by(self, index: str) -> dict[Hashable, int]:
        """Return how many objects an index has of each value; what is away stays away."""
        with self._lock:
            return self._indexes[index].count()

    def is_away(self, key: ObjectKey) -> bool:
        """Tell whether an object is known and not in memory."""
        with self._lock:
            return key in self._away

    def put(self, key: ObjectKey, document: JSON) -> JSON:
        """Store an object and return it with its new version; one that says nothing new keeps its old one."""
        with self._lock:
            old = self.get(key)
            if old is not None and _without_version(old) == _without_version(document):
                return old
            new = self._give_version(document)
            self._set(key, new)
            self._tell(Change(ChangeType.ADDED if old is None else ChangeType.MODIFIED, key, new, old))
            return new

    def restore(self, key: ObjectKey, document: JSON) -> None:
        """Take up an object as an earlier run left it, its version included; what comes back is no news."""
        with self._lock:
            self._away.pop(key, None)
            self._version = max(self._version, get_version(document))
            self._set(key, document)
            if not self._is_recalling:
                self._tell(Change(ChangeType.ADDED, key, document))

    def delete(self, key: ObjectKey) -> None:
        """Forget an object; one that is not there counts as forgotten."""
        with self._lock:
            self._recall(key)
            old = self._objects.get(key)
            if old is not None:
                self._drop(key)
                self._tell(Change(ChangeType.DELETED, key, self._give_version(old), old))

    # Away

    def put_away(self, known: Iterable[ObjectKey], others: Iterable[ObjectKey], recall: Recall) -> None:
        """Let objects go from memory without a word to anybody; of `others` not even the keys stay known.

        `recall` restores all: it is called, under the lock, with the key that somebody asks for.
        """
        with self._lock:
            for key in known:
                if self._objects.pop(key, None) is not None:
                    self._away[key] = recall
            for key in others:
                self._drop(key)

    def know(self, key: ObjectKey, indexed: Mapping[str, Hashable], version: int, recall: Recall) -> None:
        """Take up an object that is away: what its indexes find it by, and its version."""
        with self._lock:
            self._version = max(self._version, version)
            self._away[key] = recall
            self._enter(key, indexed)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let no other thread change anything, or let anything go from memory, for as long as the block lasts."""
        with self._lock:
            yield

    def _recall(self, key: ObjectKey) -> None:
        recall = self._away.get(key)
        if recall is None:
            return
        self._is_recalling = True
        try:
            recall(key)
        finally:
            self._is_recalling = False
        if self._away.pop(key, None) is not None:
            self._drop(key)  # somebody removed it from where it was kept

    # The same under the lock

    def _give_version(self, document: JSON) -> JSON:
        """Return the document with a version that nothing has had."""
        self._version = max(self._version, get_version(document)) + 1
        if self._reserve is not None and self._version > self._reserved:
            self._reserved = self._reserve(self._version)
        return {**document, "metadata": {**get_metadata(document), "resourceVersion": str(self._version)}}

    def _get_all(self, keys: Iterable[ObjectKey]) -> _Objects:
        found = (self.get(key) for key in keys)
        return [document for document in found if document is not None]

    def _set(self, key: ObjectKey, document: JSON) -> None:
        self._objects[key] = document
        self._enter(key, {name: read(key, document) for name, read in self._indexers.items()})

    def _enter(self, key: ObjectKey, indexed: Mapping[str, Hashable]) -> None:
        self._places[key.kind][key.namespace].add(key)
        for name, index in self._indexes.items():
            index.put(key, indexed.get(name))

    def _drop(self, key: ObjectKey) -> None:
        self._objects.pop(key, None)
        self._away.pop(key, None)
        self._places[key.kind][key.namespace].discard(key)
        for index in self._indexes.values():
            index.put(key, None)

    def subscribe(self, subscriber: Callable[[Change], None]) -> int:
        """Call this for every change after the version that is returned.

        It is called under the lock: it must be quick and must not write to the store.
        """
        with self._lock:
            self._subscribers.append(subscriber)
            return self._version

    def _tell(self, change: Change) -> None:
        for subscriber in self._subscribers:
            subscriber(change)


class _Index:
    """Keys by value, each under at most one."""

    def __init__(self) -> None:
        self._values: dict[ObjectKey, Hashable] = {}
        self._keys: dict[Hashable, set[ObjectKey]] = {}

    def put(self, key: ObjectKey, value: Hashable) -> None:
        """Let the key be found by this value and no other; by none if it is None."""
        old = self._values.get(key)
        if old == value:
            return
        if old is not None:
            self._keys[old].discard(key)
            if not self._keys[old]:
                del self._keys[old]
            del self._values[key]
        if value is not None:
            self._values[key] = value
            self._keys.setdefault(value, set()).add(key)

    def find(self, value: Hashable) -> list[ObjectKey]:
        """Return the keys of a value in their order."""
        return sorted(self._keys.get(value, ()))

    def count(self) -> dict[Hashable, int]:
        """Return how many keys each value has."""
        return {value: len(keys) for value, keys in self._keys.items()}


def get_version(document: JSON) -> int:
    """Return an object's resource version, 0 for one that has none."""
    text = get_metadata(document).get("resourceVersion", "0")
    return int(text) if str(text).isdigit() else 0


def _without_version(document: JSON) -> JSON:
    metadata = {k: v for k, v in get_metadata(document).items() if k != "resourceVersion"}
    return {**document, "metadata": metadata}
