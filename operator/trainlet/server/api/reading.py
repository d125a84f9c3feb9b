"""The objects of a registry as the API shows them. Thread-safe; knows nothing of HTTP."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.job_parts import PART_OF
from trainlet.kube.meta import JSON, ObjectKey, format_time, get_metadata
from trainlet.registry import Registry
from trainlet.server.api.resources import RESOURCES
from trainlet.server.api.types import Resource, not_found
from trainlet.server.api.views import Viewer
from trainlet.server.api.virtual import (
    SYSTEM_NAMESPACE,
    Machine,
    Namespaces,
    build_node,
    build_public_config,
    complete_definition,
    is_virtual,
)
from trainlet.store import Change, ChangeType, Snapshot

BY_KIND = {each.kind: each for each in RESOURCES}
NAMESPACE, CONFIG_MAP = BY_KIND["Namespace"], BY_KIND["ConfigMap"]
#: Kinds that are away with their jobs.
_PARTS = frozenset({"JobSet", "Job", "Pod", "Event"})
#: Those of which a job has many: an index finds them.
_MANY = frozenset({"Job", "Pod", "Event"})
#: How many finished jobs stay in memory after somebody asked for them.
_KEPT_AWAKE = 256

#: What one change of the store is to watches: the resource, the type, the object, and the object before.
Shown = tuple[Resource, ChangeType, JSON, JSON | None]
_Objects: TypeAlias = list[JSON]  # the class has a method of that name
_Keys: TypeAlias = list[ObjectKey]


class StoreReader:
    """Reads a registry's objects, and those that are stored nowhere."""

    def __init__(
        self, registry: Registry, machine: Machine, definitions: Sequence[JSON], clock: Callable[[], datetime]
    ) -> None:
        self._registry, self._store, self._machine = registry, registry.store, machine
        self._definitions, self._born = definitions, format_time(clock())
        self._first = self._store.version
        self._namespaces = Namespaces(self._store.list_namespaces(), self._first, self._born)
        self._viewer = Viewer(machine.name, machine.addresses[0], self._born, self._find_uid)
        self._awake: dict[ObjectKey, None] = {}
        self._lock = threading.Lock()

    def get(self, resource: Resource, namespace: str, name: str) -> JSON:
        """Return an object. Raises ApiError (404)."""
        key = resource.key(namespace, name)
        with self._store.hold():  # what is brought back does not rest again before it is read
            if resource.kind in _PARTS:
                self._bring_back([job for job in self._list_away(namespace) if name.startswith(job.name)])
            stored = None if is_virtual(resource) else self._store.get(key)
        if stored is not None:
            return self._viewer.show(resource, stored)
        for each in self._list_virtual(resource, namespace or None):
            if get_metadata(each)["name"] == name:
                return each
        raise not_found(resource, name)

    @property
    def version(self) -> int:
        """The version of the last change of anything."""
        return self._store.version

    def list(self, resource: Resource, namespace: str | None = None) -> list[JSON]:
        """Return the objects of a namespace, or of all, in the order of their keys; events as they happened."""
        return self.take_snapshot(resource, namespace).objects

    def show(self, resource: Resource, stored: JSON) -> JSON:
        """Return an object as it is read, whoever has got it from the store."""
        return self._viewer.show(resource, stored)

    def take_snapshot(
        self, resource: Resource, namespace: str | None = None, jobs: Collection[str] | None = None
    ) -> Snapshot:
        """Return the objects of a namespace, or of all, and the version at which they are these.

        Of what is part of a job only that of these jobs, if any are named.
        """
        if is_virtual(resource):
            version = self.version  # what comes meanwhile is told twice, and not never
            return Snapshot(self._list_virtual(resource, namespace), version)
        taken = self._take_stored(resource.kind, namespace, jobs)
        shown = [self._viewer.show(resource, stored) for stored in taken.objects]
        self._let_rest()
        names = {_get_place(each) for each in shown}
        missing = [each for each in self._list_virtual(resource, namespace) if _get_place(each) not in names]
        return Snapshot(sorted([*missing, *shown], key=_get_place), taken.version)

    def _take_stored(self, kind: str, namespace: str | None, jobs: Collection[str] | None) -> Snapshot:
        if kind not in _PARTS and kind != TRAIN_JOB:
            return self._store.take_snapshot(kind, namespace)
        wanted = None if kind not in _MANY else jobs
        self._bring_back(self._list_away(namespace, wanted))  # one by one, so that nobody waits for all of them
        with self._store.hold():
            self._bring_back(self._list_away(namespace, wanted))  # what went to rest meanwhile
            if wanted is None:
                return self._store.take_snapshot(kind, namespace)
            places = sorted(self._store.list_namespaces()) if namespace is None else [namespace]
            return self._store.take_snapshot_by(PART_OF, [(kind, place, job) for place in places for job in wanted])

    def subscribe(self, subscriber: Callable[[Change], None]) -> int:
        """Call this for every change after the version that is returned, as the store does."""
        return self._store.subscribe(subscriber)

    def show_change(self, change: Change) -> Iterator[Shown]:
        """Yield what a change of the store is to watches; a namespace comes with its first object."""
        version = int(get_metadata(change.object).get("resourceVersion", self._first))
        born = self._namespaces.note(change.key.namespace, version)
        if born is not None:
            yield NAMESPACE, ChangeType.ADDED, born, None
        resource = BY_KIND.get(change.key.kind)
        if resource is not None:
            show = self._viewer.show
            old = None if change.old is None else show(resource, change.old)
            yield resource, change.type, show(resource, change.object), old

    # What is stored nowhere

    def _list_virtual(self, resource: Resource, namespace: str | None) -> _Objects:
        match resource.kind:
            case "Namespace":
                return self._namespaces.list()
            case "Node":
                return [build_node(self._machine, self._first, self._born)]
            case "CustomResourceDefinition":
                return [complete_definition(each, self._first, self._born) for each in self._definitions]
            case "ConfigMap" if namespace in (None, SYSTEM_NAMESPACE):
                return [build_public_config(self._first, self._born)]
        return []

    # What is away

    def _list_away(self, namespace: str | None, names: Collection[str] | None = None) -> _Keys:
        keys = self._store.list_keys(TRAIN_JOB, namespace)
        return [key for key in keys if (names is None or key.name in names) and self._store.is_away(key)]

    def _bring_back(self, jobs: Sequence[ObjectKey]) -> None:
        """Bring jobs back with all their parts."""
        for key in jobs:
            self._store.get(key)
        with self._lock:
            self._awake |= dict.fromkeys(jobs)

    def _let_rest(self) -> None:
        """Let those go again that were brought back first, if there are too many."""
        with self._lock:
            surplus = list(self._awake)[:-_KEPT_AWAKE]
            for key in surplus:
                del self._awake[key]
        for key in surplus:
            self._registry.rest(key)

    def _find_uid(self, namespace: str, name: str) -> str | None:
        job = self._store.get(ObjectKey(TRAIN_JOB, namespace, name))
        return get_metadata(job or {}).get("uid")


def _get_place(shown: JSON) -> tuple[str, str, str]:
    """Return where an object is in a list: by namespace and name, but events as they happened."""
    metadata = get_metadata(shown)
    return metadata.get("namespace", ""), str(shown.get("lastTimestamp") or ""), metadata["name"]
