"""The API verbs on stored objects: apply, delete, record, forget. The only writer of the store.

What is stored of a job is also what is on disk: every verb ends with the job's status documents written.
"""

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainlet.admission.admit import Admitted, Rules, admit, find_pod_violations, identify, is_foreign
from trainlet.admission.support import build_portability
from trainlet.admission.trainer_status import admit_trainer_status, keep_trainer_status
from trainlet.apis.trainer import GROUP, REPORT, RUNTIME_KINDS, TRAIN_JOB, RuntimeRef
from trainlet.documents.status_dir import StatusDir
from trainlet.job_parts import JOB, JOBSET, POD, SNAPSHOT, JobParts
from trainlet.kube.conditions import set_condition
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.merge import find, put, upsert
from trainlet.kube.meta import JSON, ObjectKey, format_time, get_metadata
from trainlet.planning.events import Note
from trainlet.planning.reconcile import Decision
from trainlet.planning.report import Phase, wrap_report
from trainlet.planning.scene import Case
from trainlet.store import Store


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
        self._rules, self._clock = rules, clock
        self._lock = threading.RLock()
        self._parts = JobParts(store, status_dir, self._lock)
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
            return Case(
                job=job,
                runtime=runtime,
                pods=tuple(self._parts.list_all(key, POD)),
                report=self._parts.find(key, REPORT),
                jobset=self._parts.find(key, JOBSET),
                jobs=tuple(self._parts.list_all(key, JOB)),
            )

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
        source = find(self._parts.find(key, REPORT), "status", "source")
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
        for key, job in self._parts.read():
            if job is not None:
                self._adoptable.pop((key.namespace, key.name), None)  # a later job of the name is another one

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
                self._accept(key, source, admitted)
            else:
                self._runtime_sources[key] = source
        if key.kind == TRAIN_JOB:
            self._parts.write(key)
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
            report = self._parts.find(key, REPORT) or wrap_report(key.namespace, key.name, {})
            conditions = find(report, "status", "conditions") or []
            conditions = set_condition(conditions, "Accepted", False, error.reason, str(error), self._clock())
            status = {
                "phase": str(Phase.REJECTED),
                **(report.get("status") or {}),
                "conditions": conditions,
                "source": {"file": source.file, "document": source.document},
                "errors": list(errors),
            }
            self._parts.put(key, REPORT, {**report, "status": status})
        self._parts.write(key)

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
                status = keep_trainer_status(decision.status, job.get("status") or {})
                self.store.put(key, {**job, "status": status} if status else job)
            if decision.report is not None:
                self._merge_report(key, decision.report, engine)
            self._parts.put(key, JOBSET, decision.jobset)
            self._parts.replace(key, JOB, decision.jobs)
            self._parts.replace(key, POD, decision.pods)
            for note in notes:
                self._parts.note(key, note, self._clock())
        self._parts.write(key)

    def record_trainer_status(self, key: ObjectKey, uid: str, trainer_status: JSON) -> None:
        """Store what the training code of the job with this uid says of itself, in place of what it said before.

        Raises ApiError: 404 if there is no such job, 403 if another has its name now, 422 as the definition says.
        """
        with self._lock:
            job = self.store.get(key)
            if job is None:
                raise ApiError("Train job not found", code=404, reason="NotFound")
            if get_metadata(job).get("uid") != uid:
                raise ApiError("Forbidden", code=403, reason="Forbidden")
            status = admit_trainer_status(job, trainer_status, self._rules.crds)
            self.store.put(key, {**job, "status": status})
        self._parts.write(key)

    def note(self, key: ObjectKey, note: Note) -> None:
        """Record one event of a job outside of a pass."""
        with self._lock:
            self._parts.note(key, note, self._clock())
        self._parts.write(key)

    def report_problem(self, key: ObjectKey, reason: str, message: str) -> None:
        """Say in the report why nothing can be known of the job just now."""
        with self._lock:
            report = self._parts.find(key, REPORT)
            if report is None:
                return
            conditions = find(report, "status", "conditions") or []
            conditions = set_condition(conditions, "Running", False, reason, message, self._clock())
            self._parts.put(key, REPORT, put(report, ("status", "conditions"), conditions))
        self._parts.write(key)

    def forget(self, key: ObjectKey) -> None:
        """Remove everything that is stored of a job, on disk too."""
        self._parts.forget(key)

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

    def _accept(self, key: ObjectKey, source: Source, admitted: Admitted) -> None:
        report = self._parts.find(key, REPORT) or wrap_report(key.namespace, key.name, {})
        # What was told of a job holds until something else is asked of it.
        outdated = ("errors",) if admitted.portability is None else ("errors", "warnings", "portability")
        status = {k: v for k, v in (report.get("status") or {}).items() if k not in outdated}
        conditions = set_condition(
            status.get("conditions") or [], "Accepted", True, "Admitted", "the manifest was admitted", self._clock()
        )
        if status.get("phase", Phase.REJECTED) == Phase.REJECTED:
            status["phase"] = str(Phase.PENDING)
        status |= {"conditions": conditions, "source": {"file": source.file, "document": source.document}}
        if admitted.warnings:
            status["warnings"] = list(admitted.warnings)
        if admitted.portability is not None:
            status["portability"] = build_portability(admitted.portability)
        self._parts.put(key, REPORT, {**report, "status": status})

    def _merge_report(self, key: ObjectKey, report: JSON, engine: JSON) -> None:
        """Store a pass's report; what admission said of the file stays as it is now."""
        current = (self._parts.find(key, REPORT) or {}).get("status") or {}
        running = [c for c in report["status"]["conditions"] if c["type"] == "Running"]
        kept = {k: current[k] for k in ("source", "warnings", "portability", "errors") if k in current}
        conditions = upsert(current.get("conditions") or [], running, "type")
        self._parts.put(
            key,
            REPORT,
            {**report, "status": {**report["status"], "conditions": conditions, "engine": engine, **kept}},
        )

    def _get_snapshot(self, key: ObjectKey, job: JSON) -> JSON:
        snapshot = self._parts.find(key, SNAPSHOT)
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
        self._parts.put(key, SNAPSHOT, live)
        return self._parts.find(key, SNAPSHOT) or live


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


def _key_of(job: JSON) -> ObjectKey:
    metadata = get_metadata(job)
    return ObjectKey(TRAIN_JOB, metadata["namespace"], metadata["name"])
