"""All that is stored of each job: in the store, and on disk in its status documents.

A job may be at rest: of one that is finished only the keys, the uid, the source and where it stands are in memory, and
all of it comes back from its documents when somebody asks for it. Its own document is kept packed: if that is lost,
nothing else tells that the job is not to be run again.
"""

import logging
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime
from functools import partial

from trainlet.apis.trainer import REPORT, TRAIN_JOB
from trainlet.documents.status_dir import StatusDir, StoredJob
from trainlet.kube.errors import ApiError, TrainletError
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON, ObjectKey, format_micro_time, get_metadata
from trainlet.planning import labels
from trainlet.planning.events import EVENT, Note, build_event, get_event_key
from trainlet.planning.records import DELETED
from trainlet.planning.status import is_finished
from trainlet.store import Store, get_version

log = logging.getLogger(__name__)

SNAPSHOT, JOBSET, JOB, POD = "RuntimeSnapshot", "JobSet", "Job", "Pod"
#: The files of a job, with the kind of what is in them; the Jobs are in one file with their JobSet.
_FILES = {"pods": POD, "jobset": JOBSET, "runtime": SNAPSHOT, "events": EVENT}
_MANY = frozenset({JOB, POD, EVENT})
_MAX_EVENTS = 200
#: How the store finds the parts of a job, a job by its uid, and jobs by where they and their nodes stand.
PART_OF, UID, TOLD = "part-of", "uid", "told"
#: What a JobSet says that is to go some time after its end.
_WILL_GO = b"ttlSecondsAfterFinished"


class JobParts:
    """The parts of the jobs of one store. `lock` is what the store's only writer holds while it writes."""

    def __init__(self, store: Store, status_dir: StatusDir, lock: threading.RLock) -> None:
        self._store, self._status_dir, self._lock = store, status_dir, lock
        self._write_locks: defaultdict[ObjectKey, threading.Lock] = defaultdict(threading.Lock)
        self._written: dict[tuple[ObjectKey, str], list[JSON]] = {}
        self._owed: set[ObjectKey] = set()
        self._sources: dict[ObjectKey, JSON] = {}
        self._packed: dict[ObjectKey, bytes] = {}
        for name, read in ((PART_OF, _find_job), (UID, _find_uid), (TOLD, _find_told)):
            store.add_index(name, read)

    # In the store

    def find(self, key: ObjectKey, kind: str) -> JSON | None:
        """Return the one part of this kind, or None."""
        self._store.get(key)  # brings it back
        return self._store.get(get_part_key(key, kind))

    def find_source(self, key: ObjectKey) -> JSON | None:
        """Return what the report says of where a job came from; one at rest stays so."""
        if self._store.is_away(key):
            return self._sources[key]
        source: JSON | None = find(self.find(key, REPORT), "status", "source")
        return source

    def put(self, key: ObjectKey, kind: str, part: JSON | None) -> None:
        """Store the one part of this kind; None removes it."""
        self._store.get(key)  # brings it back
        if part is None:
            self._store.delete(get_part_key(key, kind))
        else:
            self._store.put(get_part_key(key, kind), part)

    def list_all(self, key: ObjectKey, kind: str) -> list[JSON]:
        """Return the parts of a kind of which a job has many; events in the order of their last times."""
        self._store.get(key)  # brings it back
        parts = self._store.list_by(PART_OF, (kind, key.namespace, key.name))
        if kind != EVENT:
            return parts
        return sorted(parts, key=lambda event: (event["lastTimestamp"], int(event["metadata"]["resourceVersion"])))

    def replace(self, key: ObjectKey, kind: str, parts: Sequence[JSON]) -> None:
        """Store these in the place of all parts of a kind of which a job has many."""
        wanted = {_get_key(key, kind, part): self._keep_deletion(key, kind, part) for part in parts}
        for old in self.list_all(key, kind):
            if (old_key := _get_key(key, kind, old)) not in wanted:
                self._store.delete(old_key)
        for part_key, part in wanted.items():
            self._store.put(part_key, part)

    def delete_pod(self, key: ObjectKey, now: datetime) -> JSON:
        """Say of a pod that it is to go, and return it. Raises ApiError (404)."""
        with self._lock:
            pod = self._store.get(key)
            if pod is None:
                raise ApiError(f"{key} is gone", code=404, reason="NotFound")
            marked = put(pod, ("metadata", "annotations", DELETED), format_micro_time(now))
            pod = self._store.put(key, put(marked, ("metadata", "deletionTimestamp"), format_micro_time(now)))
        self.write(ObjectKey(TRAIN_JOB, key.namespace, str(find(pod, "metadata", "labels", labels.JOBSET_NAME))))
        return pod

    def _keep_deletion(self, key: ObjectKey, kind: str, part: JSON) -> JSON:
        """Return a part as a pass made it; of a pod that was deleted meanwhile it does not know."""
        path = ("metadata", "annotations", DELETED)
        asked = find(self._store.get(_get_key(key, kind, part)), *path) if kind == POD else None
        return part if asked is None else put(part, path, asked)

    def note(self, key: ObjectKey, note: Note, now: datetime) -> None:
        """Record one event of a job; only so many are kept."""
        self._store.get(key)  # brings it back
        event_key = get_event_key(key, note)
        self._store.put(event_key, build_event(key, note, self._store.get(event_key), now))
        self._limit_events(key)

    def tell(self, event: JSON) -> JSON:
        """Store an event that a client tells of anything, one of a job on disk too, and return it."""
        about = ObjectKey(TRAIN_JOB, event["metadata"]["namespace"], str(find(event, "involvedObject", "name")))
        with self._lock:
            is_of_job = self._store.get(about) is not None
            stored = self._store.put(_get_key(about, EVENT, event), event)
            self._limit_events(about)
        if is_of_job:
            self.write(about)
        return stored

    def _limit_events(self, key: ObjectKey) -> None:
        for extra in self.list_all(key, EVENT)[:-_MAX_EVENTS]:
            self._store.delete(_get_key(key, EVENT, extra))

    # On disk

    def read(self) -> Iterator[tuple[ObjectKey, JSON | None]]:
        """Put all that is on disk into the store; yield each job's key, and the TrainJob if it was ever accepted."""
        at_rest = []
        for skimmed in self._status_dir.skim_jobs():
            key = ObjectKey(TRAIN_JOB, skimmed.namespace, skimmed.name)
            if self._know(key, skimmed):
                at_rest.append((key.namespace, key.name))
                yield key, skimmed.job
            elif stored := self._status_dir.read_job(key.namespace, key.name):
                self._take_up(key, stored, self._status_dir.read_part)
                yield key, stored.job
        self._status_dir.index_jobs(at_rest)

    def check_readable(self, key: ObjectKey) -> None:
        """Raise TrainletError for a job whose document is there and cannot be read."""
        self._status_dir.get_job(key.namespace, key.name)

    def _know(self, key: ObjectKey, skimmed: StoredJob) -> bool:
        """Take up a job as one at rest, if it may be."""
        job, report = skimmed.job or {}, skimmed.report or {}
        uid, source = get_metadata(job).get("uid"), find(report, "status", "source") or {}
        if not (may_rest(job) and uid and {"file", "document"} <= source.keys()):
            return False
        if self._status_dir.has_in_part(key.namespace, key.name, "jobset", _WILL_GO):
            return False
        self._sources[key] = source
        self._pack(key)
        for each, document in ((key, job), (get_part_key(key, REPORT), report)):
            indexed = {UID: _find_uid(each, document), TOLD: _find_told(each, document)}
            self._store.know(each, indexed, get_version(document), self._recall)
        return True

    def _take_up(self, key: ObjectKey, stored: StoredJob, read_part: Callable[[str, str, str], list[JSON]]) -> None:
        """Put all that is on disk of a job into the store."""
        main = [document for document in (stored.job, stored.report) if document is not None]
        files = {file: read_part(key.namespace, key.name, file) for file in _FILES if stored.job}
        for document in main:
            self._store.restore(get_part_key(key, str(document["kind"])), document)
        for file, parts in files.items():
            for part in parts:
                self._store.restore(_get_key(key, _FILES[file], part), part)
        self._written |= {(key, "job"): main} | {(key, file): parts for file, parts in files.items()}

    def rest(self, key: ObjectKey) -> None:
        """Let a job go from memory, if it is on disk as it is here."""
        with self._write_locks[key], self._lock:
            if (source := self.find_source(key)) is None or self._store.is_away(key) or self._list_news(key):
                return
            many = [_get_key(key, kind, part) for kind in _MANY for part in self.list_all(key, kind)]
            known = (key, get_part_key(key, REPORT))
            self._sources[key] = source
            self._pack(key)
            self._status_dir.index_job(key.namespace, key.name)
            self._store.put_away(
                known, [*many, *(get_part_key(key, kind) for kind in (JOBSET, SNAPSHOT))], self._recall
            )
            self._forget_written(key)

    def _pack(self, key: ObjectKey) -> None:
        self._packed[key] = zlib.compress(self._status_dir.read_text(key.namespace, key.name), level=1)

    def _put_back(self, key: ObjectKey) -> None:
        """Write a document again that somebody removed. Raises TrainletError."""
        log.warning("%s: its status document was removed, and is put back", key)
        self._status_dir.write_text(key.namespace, key.name, zlib.decompress(self._packed[key]))

    def _put_back_all(self) -> None:
        """Write what was removed of jobs at rest again. Raises TrainletError."""
        there = set(self._status_dir.list_jobs())
        for key in [key for key in list(self._packed) if (key.namespace, key.name) not in there]:
            with self._lock:
                if key in self._packed:  # it may have gone meanwhile
                    self._put_back(key)

    def _recall(self, part: ObjectKey) -> None:
        """Bring a job back. Raises TrainletError for one that cannot be read."""
        key = get_part_key(part, TRAIN_JOB)
        stored = self._status_dir.get_job(key.namespace, key.name)
        if stored is None:
            self._put_back(key)
            stored = self._status_dir.get_job(key.namespace, key.name)
        if stored is not None:
            self._take_up(key, stored, self._status_dir.get_part)
        self._sources.pop(key, None)
        self._packed.pop(key, None)

    def write(self, key: ObjectKey) -> None:
        """Bring the job's documents up to the store, each only if it changed."""
        with self._write_locks[key]:
            with self._lock:
                news = self._list_news(key)
            self._owed.add(key)
            for file, parts in news.items():
                if file == "job":
                    self._status_dir.write_job(key.namespace, key.name, parts)
                else:
                    self._status_dir.write_part(key.namespace, key.name, file, parts)
                self._written[(key, file)] = parts
            self._owed.discard(key)

    def owe(self, key: ObjectKey) -> None:
        """Leave it to the next write to bring the job's documents up to the store."""
        self._owed.add(key)

    def write_owed(self, key: ObjectKey) -> None:
        """Write what is owed, or what the last try did not get to disk. Raises TrainletError."""
        if key in self._owed:
            self.write(key)

    def write_all_owed(self) -> None:
        """Write all that is owed, and what was lost of jobs at rest, as far as that can be."""
        writes: list[Callable[[], None]] = [self._put_back_all, *(partial(self.write, key) for key in list(self._owed))]
        for write in writes:
            try:
                write()
            except TrainletError as error:
                log.warning("%s", error)

    def _list_news(self, key: ObjectKey) -> dict[str, list[JSON]]:
        """Return what is to be written: the files that are not as we left them, the job's own last."""
        main = [*self._find_all(key, TRAIN_JOB), *self._find_all(key, REPORT)]
        files = {
            "pods": self.list_all(key, POD),
            "jobset": [*self._find_all(key, JOBSET), *self.list_all(key, JOB)],
            "runtime": self._find_all(key, SNAPSHOT),
            "events": self.list_all(key, EVENT),
            **({"job": main} if main else {}),
        }
        return {file: parts for file, parts in files.items() if self._is_news(key, file, parts)}

    def forget(self, key: ObjectKey) -> None:
        """Remove the job and all its parts, on disk too."""
        with self._write_locks[key], self._lock:
            for kind in _MANY:
                self.replace(key, kind, ())
            for kind in (JOBSET, SNAPSHOT, REPORT, TRAIN_JOB):
                self.put(key, kind, None)
            self._forget_written(key)
            self._owed.discard(key)
            self._status_dir.forget(key.namespace, key.name)

    def _find_all(self, key: ObjectKey, kind: str) -> list[JSON]:
        found = self.find(key, kind)
        return [] if found is None else [found]

    def _is_news(self, key: ObjectKey, file: str, parts: Sequence[JSON]) -> bool:
        """Whether a file is not as we left it: other objects, or somebody removed it."""
        return self._written.get((key, file), []) != parts or (bool(parts) and not self._has_file(key, file))

    def _has_file(self, key: ObjectKey, file: str) -> bool:
        place = (key.namespace, key.name)
        return self._status_dir.has_job(*place) if file == "job" else self._status_dir.has_part(*place, file)

    def _forget_written(self, key: ObjectKey) -> None:
        for file in ("job", *_FILES):
            self._written.pop((key, file), None)


def may_rest(job: JSON) -> bool:
    """Tell whether nothing more is to be done about a job by itself."""
    return is_finished(job.get("status") or {}) and not get_metadata(job).get("deletionTimestamp")


def _find_job(key: ObjectKey, part: JSON) -> Hashable:
    match key.kind:
        case "Job" | "Pod":
            name = find(part, "metadata", "labels", labels.JOBSET_NAME)
        case "Event":
            name = find(part, "involvedObject", "name")
        case _:
            return None
    return (key.kind, key.namespace, name)


def _find_uid(key: ObjectKey, document: JSON) -> Hashable:
    return get_metadata(document).get("uid") if key.kind == TRAIN_JOB else None


def _find_told(key: ObjectKey, document: JSON) -> Hashable:
    """Return a report's phase and then the states of all nodes."""
    if key.kind != REPORT:
        return None
    status = document.get("status") or {}
    return (str(status.get("phase")), *(str(node.get("state")) for node in status.get("nodes") or ()))


def get_part_key(key: ObjectKey, kind: str) -> ObjectKey:
    """Return the key of the one part of this kind."""
    return ObjectKey(kind, key.namespace, key.name)


def _get_key(key: ObjectKey, kind: str, part: JSON) -> ObjectKey:
    kind = JOB if part.get("kind") == JOB else kind
    return ObjectKey(kind, key.namespace, str(get_metadata(part)["name"])) if kind in _MANY else get_part_key(key, kind)
