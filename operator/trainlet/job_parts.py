"""All that is stored of each job beside the TrainJob itself: in the store, and on disk in its status documents."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from trainlet.apis.trainer import REPORT, TRAIN_JOB
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, get_metadata
from trainlet.planning import labels
from trainlet.planning.events import EVENT, Note, build_event, get_event_key
from trainlet.store import Store

SNAPSHOT, JOBSET, JOB, POD = "RuntimeSnapshot", "JobSet", "Job", "Pod"
#: The files of a job, with the kind of what is in them; the Jobs are in one file with their JobSet.
_FILES = {"pods": POD, "jobset": JOBSET, "runtime": SNAPSHOT, "events": EVENT}
_MANY = frozenset({JOB, POD, EVENT})
_MAX_EVENTS = 200


class JobParts:
    """The parts of the jobs of one store. `lock` is what the store's only writer holds while it writes."""

    def __init__(self, store: Store, status_dir: StatusDir, lock: threading.RLock) -> None:
        self._store, self._status_dir, self._lock = store, status_dir, lock
        self._write_locks: defaultdict[ObjectKey, threading.Lock] = defaultdict(threading.Lock)
        self._written: dict[tuple[ObjectKey, str], list[JSON]] = {}

    # In the store

    def find(self, key: ObjectKey, kind: str) -> JSON | None:
        """Return the one part of this kind, or None."""
        return self._store.get(get_part_key(key, kind))

    def put(self, key: ObjectKey, kind: str, part: JSON | None) -> None:
        """Store the one part of this kind; None removes it."""
        if part is None:
            self._store.delete(get_part_key(key, kind))
        else:
            self._store.put(get_part_key(key, kind), part)

    def list_all(self, key: ObjectKey, kind: str) -> list[JSON]:
        """Return the parts of a kind of which a job has many; events in the order of their last times."""
        parts = self._store.list(kind, key.namespace)
        if kind != EVENT:
            return [part for part in parts if find(part, "metadata", "labels", labels.JOBSET_NAME) == key.name]
        mine = [event for event in parts if find(event, "involvedObject", "name") == key.name]
        return sorted(mine, key=lambda event: (event["lastTimestamp"], int(event["metadata"]["resourceVersion"])))

    def replace(self, key: ObjectKey, kind: str, parts: Sequence[JSON]) -> None:
        """Store these in the place of all parts of a kind of which a job has many."""
        wanted = {_get_key(key, kind, part): part for part in parts}
        for old in self.list_all(key, kind):
            if (old_key := _get_key(key, kind, old)) not in wanted:
                self._store.delete(old_key)
        for part_key, part in wanted.items():
            self._store.put(part_key, part)

    def note(self, key: ObjectKey, note: Note, now: datetime) -> None:
        """Record one event of a job; only so many are kept."""
        event_key = get_event_key(key, note)
        self._store.put(event_key, build_event(key, note, self._store.get(event_key), now))
        for extra in self.list_all(key, EVENT)[:-_MAX_EVENTS]:
            self._store.delete(_get_key(key, EVENT, extra))

    # On disk

    def read(self) -> Iterator[tuple[ObjectKey, JSON | None]]:
        """Put all that is on disk into the store; yield each job's key, and the TrainJob if it was ever accepted."""
        for stored in self._status_dir.read_jobs():
            key = ObjectKey(TRAIN_JOB, stored.namespace, stored.name)
            for document in (stored.job, stored.report):
                if document is not None:
                    self._store.restore(get_part_key(key, str(document["kind"])), document)
                    self._written.setdefault((key, "job"), []).append(document)
            for file, kind in _FILES.items() if stored.job is not None else ():
                parts = self._status_dir.read_part(key.namespace, key.name, file)
                for part in parts:
                    self._store.restore(_get_key(key, kind, part), part)
                self._written[(key, file)] = parts
            yield key, stored.job

    def write(self, key: ObjectKey) -> None:
        """Bring the job's documents up to the store, each only if it changed."""
        with self._write_locks[key]:
            with self._lock:
                main = [*self._find_all(key, TRAIN_JOB), *self._find_all(key, REPORT)]
                files = {
                    "pods": self.list_all(key, POD),
                    "jobset": [*self._find_all(key, JOBSET), *self.list_all(key, JOB)],
                    "runtime": self._find_all(key, SNAPSHOT),
                    "events": self.list_all(key, EVENT),
                }
            for file, parts in files.items():
                there = self._status_dir.has_part(key.namespace, key.name, file)
                if self._is_news(key, file, parts, there=there):
                    self._status_dir.write_part(key.namespace, key.name, file, parts)
                    self._written[(key, file)] = list(parts)
            there = self._status_dir.has_job(key.namespace, key.name)
            if main and self._is_news(key, "job", main, there=there):
                self._status_dir.write_job(key.namespace, key.name, main)
                self._written[(key, "job")] = main

    def forget(self, key: ObjectKey) -> None:
        """Remove the job and all its parts, on disk too."""
        with self._write_locks[key], self._lock:
            for kind in _MANY:
                self.replace(key, kind, ())
            for kind in (JOBSET, SNAPSHOT, REPORT, TRAIN_JOB):
                self.put(key, kind, None)
            for written in [w for w in self._written if w[0] == key]:
                del self._written[written]
            self._status_dir.forget(key.namespace, key.name)

    def _find_all(self, key: ObjectKey, kind: str) -> list[JSON]:
        found = self.find(key, kind)
        return [] if found is None else [found]

    def _is_news(self, key: ObjectKey, file: str, parts: Sequence[JSON], *, there: bool) -> bool:
        """Whether a file is not as we left it: other objects, or somebody removed it."""
        return self._written.get((key, file), []) != parts or (bool(parts) and not there)


def get_part_key(key: ObjectKey, kind: str) -> ObjectKey:
    """Return the key of the one part of this kind."""
    return ObjectKey(kind, key.namespace, key.name)


def _get_key(key: ObjectKey, kind: str, part: JSON) -> ObjectKey:
    kind = JOB if part.get("kind") == JOB else kind
    return ObjectKey(kind, key.namespace, str(get_metadata(part)["name"])) if kind in _MANY else get_part_key(key, kind)
