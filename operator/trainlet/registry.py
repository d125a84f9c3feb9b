"""The API verbs on stored objects: apply, delete, record, forget. The only writer of the store.

What is stored of a job is also what is on disk: every verb ends with the job's status documents written.
"""

import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainlet.admission.admit import Admitted, Rules, admit, find_pod_violations, identify, is_foreign
from trainlet.apis.trainer import GROUP, REPORT, RUNTIME_KINDS, TRAIN_JOB, RuntimeRef
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.conditions import set_condition
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.merge import find, put, upsert
from trainlet.kube.meta import JSON, ObjectKey, format_time, get_metadata
from trainlet.planning import labels
from trainlet.planning.events import EVENT, Note, build_event, get_event_key
from trainlet.planning.reconcile import Case, Decision
from trainlet.planning.report import Phase, wrap_report
from trainlet.store import Store

SNAPSHOT, JOBSET, POD = "RuntimeSnapshot", "JobSet", "Pod"
_PARTS = {"pods": POD, "jobset": JOBSET, "runtime": SNAPSHOT, "events": EVENT}
_MAX_EVENTS = 200


@dataclass(frozen=True)
class Source:
    """Where a document came from: a file (absolute) and its place in it."""

    file: str
    document: int


class Registry:
    """Keeps the objects of one directory. Thread-safe."""

    def __init__(
        self,
        store: Store,
        status_dir: StatusDir,
        rules: Rules,
        clock: Callable[[], datetime],
    ) -> None:
        self.store = store
        self._status_dir, self._rules, self._clock = status_dir, rules, clock
        self._lock = threading.RLock()
        self._write_locks: defaultdict[ObjectKey, threading.Lock] = defaultdict(threading.Lock)
        self._written: dict[tuple[ObjectKey, str], list[JSON]] = {}
        self._adoptable: dict[tuple[str, str], str] = {}
        self._runtime_sources: dict[ObjectKey, Source] = {}
        self._base: dict[ObjectKey, tuple[JSON, Source]] = {}

    # Reading

    def identify(self, document: JSON) -> ObjectKey:
        """Return the key of a document. Raises ApiError for a kind that is not ours."""
        return identify(document, self._rules.crds, self._rules.namespace)

    def is_foreign(self, document: JSON) -> bool:
        """Tell whether a document is of a kind that is nothing to us."""
        return is_foreign(document, self._rules.crds)

    def get_case(self, key: ObjectKey) -> Case | None:
        """Return all that is stored of a job, or None. A job's first case takes the snapshot of its runtime."""
        with self._lock:
            job = self.store.get(key)
            if job is None:
                return None
            runtime = self._get_snapshot(key, job)
            return Case(job, runtime, tuple(self._pods(key)), self.store.get(_part(key, REPORT)))

    def find_job(self, uid: str) -> ObjectKey | None:
        """Return the job with this uid, or None."""
        jobs = (j for j in self.store.list(TRAIN_JOB) if get_metadata(j).get("uid") == uid)
        return next((_key_of(job) for job in jobs), None)

    def list_jobs(self) -> list[ObjectKey]:
        """Return the keys of all stored jobs."""
        return [_key_of(job) for job in self.store.list(TRAIN_JOB)]

    def list_told(self) -> list[ObjectKey]:
        """Return the keys of all jobs that have a report, those too that were never accepted."""
        return sorted({_key_of(stored) for kind in (TRAIN_JOB, REPORT) for stored in self.store.list(kind)})

    def get_runtime_file(self, key: ObjectKey) -> str:
        """Return the file that a runtime came from. Raises KeyError."""
        return self._runtime_sources[key].file

    def find_source(self, key: ObjectKey) -> Source | None:
        """Return where a job came from."""
        source = find(self.store.get(_part(key, REPORT)), "status", "source")
        return Source(str(source.get("file", "")), int(source.get("document", 0))) if source else None

    def judge(
        self, document: JSON, old: JSON | None = None, nearer: Mapping[ObjectKey, JSON] | None = None
    ) -> Admitted:
        """Admit a document without storing it; runtimes in `nearer` hide those of the store. Raises ApiError."""
        runtimes = nearer or {}
        return admit(document, old, self._rules, lambda key: runtimes.get(key) or self.store.get(key), self._clock())

    def find_pod_violations(self, case: Case) -> list[FieldError]:
        """Find why the pods of a job may not be made, by what the settings and its runtime say now."""
        return find_pod_violations(case.job, case.runtime, self._rules)

    # Writing

    def load(self, adoptable: Mapping[tuple[str, str], str]) -> None:
        """Take up what an earlier run left on disk.

        `adoptable` gives the uids found on the engine by namespace and name, for jobs whose status was lost.
        """
        self._adoptable = dict(adoptable)
        for stored in self._status_dir.read_jobs():
            key = ObjectKey(TRAIN_JOB, stored.namespace, stored.name)
            if stored.job is not None:
                self._adoptable.pop((stored.namespace, stored.name), None)  # a later job of the name is another one
            for document in (stored.job, stored.report):
                if document is not None:
                    self.store.restore(_part(key, str(document["kind"])), document)
                    self._written.setdefault((key, "job"), []).append(document)
            for part, kind in _PARTS.items() if stored.job is not None else ():
                children = self._status_dir.read_part(key.namespace, key.name, part)
                for child in children:
                    self.store.restore(self._child_key(key, kind, child), child)
                self._written[(key, part)] = children

    def apply(self, document: JSON, source: Source) -> Admitted:
        """Create or update an object. Raises ApiError; a job that was there before stays as it was.

        One that is to be replaced is only deleted: apply the document again when the old job is gone.
        """
        key = self.identify(document)
        with self._lock:
            old = self.store.get(key)
            if find(old, "metadata", "deletionTimestamp") is not None:
                raise _still_deleting(key)
            if key in self._base and old is self._base[key][0]:
                old = None  # it hides the base runtime, it does not update it
            admitted = self.judge(document, old)
            if admitted.replaces and key.kind == TRAIN_JOB:
                self.delete(key)
                return admitted
            old = None if admitted.replaces else old
            self.store.put(key, self._finish(key, admitted.document, old))
            if key.kind == TRAIN_JOB:
                self._accept(key, source, admitted.warnings)
            else:
                self._runtime_sources[key] = source
        if key.kind == TRAIN_JOB:
            self._write(key)
        return admitted

    def add_base_runtime(self, document: JSON, source: Source) -> None:
        """Add a runtime that is there unless a manifest of its name hides it; a later one replaces an earlier."""
        key = self.identify(document)
        with self._lock:
            self._base.pop(key, None)
            self.store.delete(key)
            self.apply(document, source)
            self._base[key] = (self.store.get(key) or document, source)

    def reject(self, key: ObjectKey, source: Source, error: ApiError, errors: Sequence[JSON]) -> None:
        """Say why a TrainJob's file is refused; `errors` are the causes with their positions."""
        with self._lock:
            report = self.store.get(_part(key, REPORT)) or wrap_report(key.namespace, key.name, {})
            conditions = find(report, "status", "conditions") or []
            conditions = set_condition(conditions, "Accepted", False, error.reason, str(error), self._clock())
            status = {
                "phase": str(Phase.REJECTED),
                **(report.get("status") or {}),
                "conditions": conditions,
                "source": {"file": source.file, "document": source.document},
                "errors": list(errors),
            }
            self.store.put(_part(key, REPORT), {**report, "status": status})
        self._write(key)

    def delete(self, key: ObjectKey) -> None:
        """Delete an object; a job stays, marked, until nothing of it is left on the engine."""
        with self._lock:
            job = self.store.get(key)
            if key.kind != TRAIN_JOB:
                self._delete_runtime(key)
            elif job is not None and not get_metadata(job).get("deletionTimestamp"):
                self.store.put(key, put(job, ("metadata", "deletionTimestamp"), format_time(self._clock())))
        if job is None and key.kind == TRAIN_JOB:
            self.forget(key)  # it was never accepted: there is only its report

    def record(self, key: ObjectKey, decision: Decision, notes: Sequence[Note], engine: JSON) -> None:
        """Store what a pass found to be true; the documents change only if that is news."""
        with self._lock:
            job = self.store.get(key)
            if job is None:
                return
            if decision.status is not None:
                self.store.put(key, {**job, "status": decision.status} if decision.status else job)
            if decision.report is not None:
                self._merge_report(key, decision.report, engine)
            if decision.jobset is not None:
                self.store.put(_part(key, JOBSET), decision.jobset)
            self._replace_pods(key, decision.pods)
            for note in notes:
                self._note(key, note)
        self._write(key)

    def note(self, key: ObjectKey, note: Note) -> None:
        """Record one event of a job outside of a pass."""
        with self._lock:
            self._note(key, note)
        self._write(key)

    def report_problem(self, key: ObjectKey, reason: str, message: str) -> None:
        """Say in the report why nothing can be known of the job just now."""
        with self._lock:
            report = self.store.get(_part(key, REPORT))
            if report is None:
                return
            conditions = find(report, "status", "conditions") or []
            conditions = set_condition(conditions, "Running", False, reason, message, self._clock())
            self.store.put(_part(key, REPORT), put(report, ("status", "conditions"), conditions))
        self._write(key)

    def forget(self, key: ObjectKey) -> None:
        """Remove everything that is stored of a job, on disk too."""
        with self._write_locks[key], self._lock:
            for pod in self._pods(key):
                self.store.delete(self._child_key(key, POD, pod))
            for event in self._events(key):
                self.store.delete(self._child_key(key, EVENT, event))
            for kind in (JOBSET, SNAPSHOT, REPORT):
                self.store.delete(_part(key, kind))
            self.store.delete(key)
            for written in [w for w in self._written if w[0] == key]:
                del self._written[written]
            self._status_dir.forget(key.namespace, key.name)

    # Parts

    def _delete_runtime(self, key: ObjectKey) -> None:
        """Delete a runtime; the base one of its name, if there is any, is to be seen again."""
        self.store.delete(key)
        if key in self._base:
            document, self._runtime_sources[key] = self._base[key]
            self._base[key] = (self.store.put(key, document), self._runtime_sources[key])

    def _finish(self, key: ObjectKey, document: JSON, old: JSON | None) -> JSON:
        """Add what only the server says: uid, creation, generation, and the status there was."""
        before = get_metadata(old or {})
        uid = before.get("uid") or self._adoptable.pop((key.namespace, key.name), None) or str(uuid.uuid4())
        same_spec = old is None or old.get("spec") == document.get("spec")
        metadata = {
            **get_metadata(document),
            "uid": uid,
            "generation": int(before.get("generation", 1)) + (not same_spec),
            "creationTimestamp": before.get("creationTimestamp") or format_time(self._clock()),
        }
        finished = {**document, "metadata": metadata}
        return {**finished, "status": old["status"]} if old and "status" in old else finished

    def _accept(self, key: ObjectKey, source: Source, warnings: Sequence[str]) -> None:
        report = self.store.get(_part(key, REPORT)) or wrap_report(key.namespace, key.name, {})
        status = {k: v for k, v in (report.get("status") or {}).items() if k not in ("errors", "warnings")}
        conditions = set_condition(
            status.get("conditions") or [], "Accepted", True, "Admitted", "the manifest was admitted", self._clock()
        )
        if status.get("phase", Phase.REJECTED) == Phase.REJECTED:
            status["phase"] = str(Phase.PENDING)
        status |= {"conditions": conditions, "source": {"file": source.file, "document": source.document}}
        if warnings:
            status["warnings"] = list(warnings)
        self.store.put(_part(key, REPORT), {**report, "status": status})

    def _merge_report(self, key: ObjectKey, report: JSON, engine: JSON) -> None:
        """Store a pass's report; what admission said of the file stays as it is now."""
        current = (self.store.get(_part(key, REPORT)) or {}).get("status") or {}
        running = [c for c in report["status"]["conditions"] if c["type"] == "Running"]
        kept = {k: current[k] for k in ("source", "warnings", "errors") if k in current}
        conditions = upsert(current.get("conditions") or [], running, "type")
        self.store.put(
            _part(key, REPORT),
            {**report, "status": {**report["status"], "conditions": conditions, "engine": engine, **kept}},
        )

    def _replace_pods(self, key: ObjectKey, pods: Sequence[JSON]) -> None:
        wanted = {self._child_key(key, POD, pod): pod for pod in pods}
        for old in self._pods(key):
            if (old_key := self._child_key(key, POD, old)) not in wanted:
                self.store.delete(old_key)
        for pod_key, pod in wanted.items():
            self.store.put(pod_key, pod)

    def _note(self, key: ObjectKey, note: Note) -> None:
        event_key = get_event_key(key, note)
        self.store.put(event_key, build_event(key, note, self.store.get(event_key), self._clock()))
        for extra in self._events(key)[:-_MAX_EVENTS]:
            self.store.delete(self._child_key(key, EVENT, extra))

    def _get_snapshot(self, key: ObjectKey, job: JSON) -> JSON:
        snapshot = self.store.get(_part(key, SNAPSHOT))
        if snapshot is not None:
            return snapshot
        ref = RuntimeRef.of(job["spec"]["runtimeRef"])
        live = self.store.get(ref.key(key.namespace))
        if live is None:
            raise ApiError(
                f"not found {ref.kind} specified in TrainJob: {ref.name}",
                code=404,
                reason="NotFound",
                remedy="put the runtime into the watched directory",
            )
        return self.store.put(_part(key, SNAPSHOT), live)

    def _pods(self, key: ObjectKey) -> list[JSON]:
        pods = self.store.list(POD, key.namespace)
        return [pod for pod in pods if find(pod, "metadata", "labels", labels.JOBSET_NAME) == key.name]

    def _events(self, key: ObjectKey) -> list[JSON]:
        events = self.store.list(EVENT, key.namespace)
        mine = [event for event in events if find(event, "involvedObject", "name") == key.name]
        return sorted(mine, key=lambda event: (event["lastTimestamp"], int(event["metadata"]["resourceVersion"])))

    def _child_key(self, key: ObjectKey, kind: str, child: JSON) -> ObjectKey:
        name = str(get_metadata(child)["name"]) if kind in (POD, EVENT) else key.name
        return ObjectKey(kind, key.namespace, name)

    def _write(self, key: ObjectKey) -> None:
        """Bring the job's documents up to the store, each only if it changed."""
        with self._write_locks[key]:
            with self._lock:
                main = [o for o in (self.store.get(key), self.store.get(_part(key, REPORT))) if o is not None]
                parts: dict[str, list[JSON]] = {
                    "pods": self._pods(key),
                    "jobset": [o for o in (self.store.get(_part(key, JOBSET)),) if o is not None],
                    "runtime": [o for o in (self.store.get(_part(key, SNAPSHOT)),) if o is not None],
                    "events": self._events(key),
                }
            for part, objects in parts.items():
                there = self._status_dir.has_part(key.namespace, key.name, part)
                if self._is_news(key, part, objects, there=there):
                    self._status_dir.write_part(key.namespace, key.name, part, objects)
                    self._written[(key, part)] = list(objects)
            there = self._status_dir.has_job(key.namespace, key.name)
            if main and self._is_news(key, "job", main, there=there):
                self._status_dir.write_job(key.namespace, key.name, main)
                self._written[(key, "job")] = main

    def _is_news(self, key: ObjectKey, part: str, objects: Sequence[JSON], *, there: bool) -> bool:
        """Whether a file is not as we left it: other objects, or somebody removed it."""
        return self._written.get((key, part), []) != objects or (bool(objects) and not there)


def is_runtime(key: ObjectKey) -> bool:
    """Tell whether the key is a runtime's."""
    return key.kind in RUNTIME_KINDS


def describe_errors(error: ApiError) -> list[FieldError]:
    """Return the causes of a refusal; one without any is its own cause."""
    return list(error.causes) or [FieldError("", "Invalid value", error.what)]


def _still_deleting(key: ObjectKey) -> ApiError:
    what = f'object is being deleted: {key.kind.lower()}s.{GROUP} "{key.name}" already exists'
    cause = FieldError("metadata.name", "Forbidden", "the job before it is still being deleted; this one follows")
    return ApiError(what, code=409, reason="AlreadyExists", causes=[cause])


def _part(key: ObjectKey, kind: str) -> ObjectKey:
    return ObjectKey(kind, key.namespace, key.name)


def _key_of(job: JSON) -> ObjectKey:
    metadata = get_metadata(job)
    return ObjectKey(TRAIN_JOB, metadata["namespace"], metadata["name"])
