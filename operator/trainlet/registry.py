"""The API verbs on stored objects: apply, delete, record, forget. The only writer of the store.

What is stored of a job is also on disk: every verb ends with its status documents written, but for what a pass finds
between two steps. Runtimes, ConfigMaps, Secrets and claims are there already, in their manifests; what these do not say
is kept beside (kept_objects.py).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from trainlet.admission.admit import Admitted, Rules, admit, find_pod_violations, identify, is_foreign
from trainlet.admission.core_kinds import OBJECT_KINDS
from trainlet.admission.crd import Crd
from trainlet.admission.trainer_status import admit_status, admit_trainer_status, keep_trainer_status
from trainlet.apis.trainer import GROUP, REPORT, RUNTIME_KINDS, TRAIN_JOB, RuntimeRef
from trainlet.documents.status_dir import StatusDir
from trainlet.job_parts import JOB, JOBSET, POD, SNAPSHOT, UID, JobParts, get_part_key, may_rest
from trainlet.job_reports import Source as Source
from trainlet.job_reports import build_digest, merge_report, read_source, tell_accepted, tell_problem, tell_rejected
from trainlet.kept_objects import KeptObjects, find_deletion
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON, ObjectKey, derive_uid, format_time, get_metadata
from trainlet.planning.events import Note
from trainlet.planning.reconcile import Decision
from trainlet.planning.report import wrap_report
from trainlet.planning.scene import Case
from trainlet.store import Change, Store

_STILL_DELETING = FieldError("metadata.name", "Forbidden", "the job before it is still being deleted; this one follows")


class Registry:
    """Keeps the objects of one directory. Thread-safe."""

    def __init__(self, store: Store, status_dir: StatusDir, rules: Rules, clock: Callable[[], datetime]) -> None:
        self.store = store
        self._rules, self._clock = rules, clock
        self._lock = threading.RLock()
        self._parts = JobParts(store, status_dir, self._lock)
        self._kept = KeptObjects(status_dir, clock, lambda key: self.get_definition(key).schema)
        self._holds_finalized = False
        self._adoptable: dict[tuple[str, str], str] = {}
        self._runtime_sources: dict[ObjectKey, Source] = {}
        self._base: dict[ObjectKey, tuple[JSON, Source]] = {}
        self._objects: dict[str | None, tuple[JSON, ...]] = {}
        self._runtime_changes = 0
        store.subscribe(self._note_change)

    # Reading

    def identify(self, document: JSON) -> ObjectKey:
        """Return the key of a document. Raises ApiError for a kind that is not ours."""
        return identify(document, self._rules.crds, self._rules.namespace)

    def build_digest(self, data: bytes) -> str:
        """Return the digest of a file, and of what else says which object it names: see Source."""
        return build_digest(data, self._rules.namespace)

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
                objects=self.list_objects(key.namespace),
            )

    def find_job(self, uid: str) -> ObjectKey | None:
        """Return the job with this uid, or None."""
        return next(iter(self.store.list_keys_by(UID, uid)), None)

    def list_jobs(self) -> list[ObjectKey]:
        """Return the keys of all stored jobs."""
        return self.store.list_keys(TRAIN_JOB)

    def list_awake(self) -> list[ObjectKey]:
        """Return the keys of the jobs that are not at rest: all that something may still become of."""
        return [key for key in self.list_jobs() if not self.store.is_away(key)]

    def list_objects(self, namespace: str | None = None) -> tuple[JSON, ...]:
        """Return the ConfigMaps, Secrets and PersistentVolumeClaims of a namespace, or of all."""
        with self._lock:
            if namespace not in self._objects:
                self._objects[namespace] = tuple(o for kind in OBJECT_KINDS for o in self.store.list(kind, namespace))
            return self._objects[namespace]

    def list_told(self) -> list[ObjectKey]:
        """Return the keys of all jobs that have a report, those too that were never accepted."""
        told = (get_part_key(key, TRAIN_JOB) for key in self.store.list_keys(REPORT))
        return sorted({*self.list_jobs(), *told})

    def get_runtime_file(self, key: ObjectKey) -> str:
        """Return the file that a runtime, or an object beside the jobs, came from. Raises KeyError."""
        return self._runtime_sources[key].file

    def find_source(self, key: ObjectKey) -> Source | None:
        """Return where a job came from."""
        return read_source(self._parts.find_source(key))

    def get_grounds(self, key: ObjectKey) -> tuple[object, ...]:
        """Return what a verdict on the object depends on beside its document: as long as it is the same, so is that."""
        return self._runtime_changes, get_metadata(self.store.get(key) or {}).get("resourceVersion")

    def judge(
        self,
        document: JSON,
        old: JSON | None = None,
        nearer: Mapping[ObjectKey, JSON] | None = None,
        validation: str = "",
    ) -> Admitted:
        """Admit a document without storing it; runtimes in `nearer` hide those of the store. Raises ApiError.

        `validation` says in place of the settings what becomes of unknown fields.
        """
        runtimes = nearer or {}
        rules = replace(self._rules, validation=validation) if validation else self._rules
        return admit(document, old, rules, lambda key: runtimes.get(key) or self.store.get(key), self._clock())

    def get_definition(self, key: ObjectKey) -> Crd:
        """Return the definition of an object's kind. Raises KeyError."""
        return {crd.kind: crd for crd in self._rules.crds}[key.kind]

    def is_base(self, key: ObjectKey) -> bool:
        """Tell whether what is seen under this name is a runtime that no manifest holds."""
        return key in self._base and self.store.get(key) is self._base[key][0]

    def find_pod_violations(self, case: Case) -> list[FieldError]:
        """Find why the pods of a job may not be made, by what the settings and its runtime say now."""
        return find_pod_violations(case.job, case.runtime, self._rules)

    # Writing

    def load(self, adoptable: Mapping[tuple[str, str], str]) -> None:
        """Take up what an earlier run left on disk.

        `adoptable` gives the uids found on the engine by namespace and name, for jobs whose status was lost.
        """
        self._adoptable = dict(adoptable)
        self._kept.read()
        for key, job in self._parts.read():
            if job is not None:
                self._adoptable.pop((key.namespace, key.name), None)  # a later job of the name is another one

    def apply(self, document: JSON, source: Source) -> Admitted:
        """Create or update an object. Raises ApiError; a job that was there before stays as it was.

        Raises TrainletError for a job whose document is damaged, unless the engine has something of it.

        One that is to be replaced is only deleted: apply the document again when the old job is gone.
        """
        key = self.identify(document)
        with self._lock:
            old = self.store.get(key)
            if key.kind == TRAIN_JOB and find(old, "metadata", "deletionTimestamp") is not None:
                what = f'object is being deleted: {key.kind.lower()}s.{GROUP} "{key.name}" already exists'
                raise ApiError(what, code=409, reason="AlreadyExists", causes=[_STILL_DELETING])
            if key.kind == TRAIN_JOB and old is None and (key.namespace, key.name) not in self._adoptable:
                self._parts.check_readable(key)  # it may have ended, and nothing else would tell
            if self.is_base(key):
                old = None  # it hides the base runtime, it does not update it
            admitted = self.judge(self._kept.complete(key, document, old), old)
            if admitted.replaces and key.kind == TRAIN_JOB:
                self.delete(key)
                return admitted
            if admitted.replaces:
                self._kept.forget(key)
                old = None
            self.store.put(key, self._finish(key, admitted.document, old))
            if key.kind == TRAIN_JOB:
                self._tell(key, lambda report: tell_accepted(report, source, admitted, self._clock()))
            else:
                self._runtime_sources[key] = source
        self._write(key)
        return admitted

    def add_base_runtime(self, document: JSON, source: Source) -> None:
        """Add a runtime that is there unless a manifest of its name hides it; a later one replaces an earlier.

        Raises ApiError; what was there before stays.
        """
        key = self.identify(document)
        with self._lock:
            seen, (base, _) = self.store.get(key), self._base.get(key, (None, source))
            uid = derive_uid("", str(key))  # the same in every run, though nothing of it is written down
            runtime = self._kept.finish(key, self.judge(document).document, base, uid)
            if seen is base:
                runtime = self.store.put(key, runtime)
                self._runtime_sources[key] = source
            self._base[key] = (runtime, source)

    def reject(self, key: ObjectKey, source: Source, error: ApiError, errors: Sequence[JSON]) -> None:
        """Say why a TrainJob's file is refused; `errors` are the causes with their positions."""
        with self._lock:
            self._tell(key, lambda report: tell_rejected(report, source, error, errors, self._clock()))
        self._parts.write(key)

    def delete(self, key: ObjectKey) -> None:
        """Delete an object; a job stays, marked, until nothing of it is left on the engine."""
        with self._lock:
            job = self.store.get(key)
            if key.kind != TRAIN_JOB:
                self._delete_at_once(key)
            elif job is not None and not get_metadata(job).get("deletionTimestamp"):
                self.store.put(key, put(job, ("metadata", "deletionTimestamp"), format_time(self._clock())))
                self._parts.owe(key)
        if job is None and key.kind == TRAIN_JOB:
            self.forget(key)  # it was never accepted: there is only its report

    def record(
        self, key: ObjectKey, decision: Decision, notes: Sequence[Note], engine: JSON, *, is_interim: bool = False
    ) -> None:
        """Store what a pass found; an interim state gets to disk by `write_owed`, or with what comes after it."""
        with self._lock:
            job = self.store.get(key)
            if job is None:
                return
            if decision.status is not None:
                status = keep_trainer_status(decision.status, job.get("status") or {})
                self.store.put(key, {**job, "status": status} if status else job)
            if decision.report is not None:
                current = self._parts.find(key, REPORT) or {}
                self._parts.put(key, REPORT, merge_report(decision.report, current, engine))
            self._parts.put(key, JOBSET, decision.jobset)
            self._parts.replace(key, JOB, decision.jobs)
            self._parts.replace(key, POD, decision.pods)
            for note in notes:
                self._parts.note(key, note, self._clock())
        (self._parts.owe if is_interim else self._parts.write)(key)

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

    def write_owed(self, key: ObjectKey) -> None:
        """Write what is stored of a job and did not get to disk. Raises TrainletError."""
        self._parts.write_owed(key)

    def write_all_owed(self) -> None:
        """Write all that did not get to disk, or was lost from there, as far as that can be."""
        self._parts.write_all_owed()

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
            self._parts.put(key, REPORT, tell_problem(report, reason, message, self._clock()))
        self._parts.write(key)

    def forget(self, key: ObjectKey) -> None:
        """Remove everything that is stored of a job, on disk too; one with finalizers waits for these to go."""
        if not (self._holds_finalized and find(self.store.get(key), "metadata", "finalizers")):
            self._parts.forget(key)

    def rest(self, key: ObjectKey) -> None:
        """Let go from memory what is stored of a finished job; it comes back when somebody asks for it."""
        with self._lock:
            job = self.store.get(key)
        if job is not None and may_rest(job):
            self._parts.rest(key)

    # Of the API

    def hold_finalized(self) -> None:
        """From now on let nothing go that has finalizers: there is a way to remove them."""
        self._holds_finalized = True

    def intending(self, key: ObjectKey, metadata: JSON) -> AbstractContextManager[None]:
        """What is read of an object's manifest in this block has this metadata beside it, in place of what it had."""
        return self._kept.intending(key, metadata)

    def put_metadata(self, key: ObjectKey, metadata: JSON) -> JSON:
        """Store metadata that an object's manifest does not say, and return the object. Raises ApiError (404)."""
        return self._put_over(key, lambda stored: {**stored, "metadata": {**metadata, **find_deletion(stored)}})

    def judge_status(self, job: JSON, status: JSON) -> JSON:
        """Admit a client's status of a job without storing it; what is unknown is left out. Raises ApiError."""
        return admit_status(job, status, self._rules.crds)

    def put_status(self, key: ObjectKey, status: JSON, metadata: JSON) -> JSON:
        """Store a client's status of a job, until a pass finds another one, and return the job. Raises ApiError."""
        told = {"status": status} if status else {}

        def change(job: JSON) -> JSON:
            bare = {name: value for name, value in job.items() if name != "status"}
            return {**bare, "metadata": {**metadata, **find_deletion(job)}, **told}

        return self._put_over(key, change)

    def put_event(self, event: JSON) -> JSON:
        """Store an event that somebody tells, one of a job on disk too, and return it."""
        return self._parts.tell(event)

    def mark_deleted(self, key: ObjectKey) -> JSON:
        """Say of an object that it goes as soon as nobody holds it any more, and return it."""
        time = format_time(self._clock())
        return self._put_over(key, lambda stored: put(stored, ("metadata", "deletionTimestamp"), time))

    def delete_pod(self, key: ObjectKey) -> JSON:
        """Say of a pod that it is to go, as the next pass sees to, and return it. Raises ApiError (404)."""
        return self._parts.delete_pod(key, self._clock())

    def settle(self) -> None:
        """Take what is there now for all there is: from now on, what manifests do not say is written down."""
        with self._lock:
            keys = [key for kind in (*RUNTIME_KINDS, *OBJECT_KINDS) for key in self.store.list_keys(kind)]
            self._kept.settle({key: self.store.get(key) or {} for key in keys if not self.is_base(key)})

    # Parts

    def _put_over(self, key: ObjectKey, change: Callable[[JSON], JSON]) -> JSON:
        with self._lock:
            stored = self.store.get(key)
            if stored is None:
                raise ApiError(f"{key} is gone", code=404, reason="NotFound")
            changed = self.store.put(key, change(stored))
        self._write(key)
        return changed

    def _write(self, key: ObjectKey) -> None:
        if key.kind == TRAIN_JOB:
            self._parts.write(key)
            return
        with self._lock:
            if (stored := self.store.get(key)) is not None:
                self._kept.write(key, stored)

    def _note_change(self, change: Change) -> None:
        if change.key.kind in OBJECT_KINDS:
            self._objects = {}
        self._runtime_changes += change.key.kind in RUNTIME_KINDS

    def _delete_at_once(self, key: ObjectKey) -> None:
        """Delete what is no job; a base runtime of its name, if there is any, is to be seen again."""
        self.store.delete(key)
        self._kept.forget(key)
        if key in self._base:
            document, self._runtime_sources[key] = self._base[key]
            self._base[key] = (self.store.put(key, document), self._runtime_sources[key])

    def _finish(self, key: ObjectKey, document: JSON, old: JSON | None) -> JSON:
        adoptable = self._adoptable.pop((key.namespace, key.name), None) if key.kind == TRAIN_JOB else None
        return self._kept.finish(key, document, old, adoptable)

    def _tell(self, key: ObjectKey, tell: Callable[[JSON], JSON]) -> None:
        """Store what is made of a job's report, be it a new one."""
        report = self._parts.find(key, REPORT) or wrap_report(key.namespace, key.name, {})
        self._parts.put(key, REPORT, tell(report))

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
