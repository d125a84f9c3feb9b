"""The batch Jobs of a JobSet: what is remembered of each, how that is kept as a Job's wire form, and what one is now.

A Job without a record does not exist yet on a cluster: what it depends on is not there, or its predecessor is not gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from trainlet.apis.batch_v1 import JobSpec
from trainlet.apis.jobset import JobSet, ReplicatedJob
from trainlet.apis.trainer import JOBSET_API_VERSION
from trainlet.kube.conditions import find_condition
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON, format_micro_time, parse_time
from trainlet.planning import labels
from trainlet.planning.pods import build_jobset_labels, get_job_uid
from trainlet.planning.records import PodRecord, get_phase
from trainlet.planning.slots import Slot

COMPLETE, FAILED = "Complete", "Failed"


class JobState(StrEnum):
    """Where a batch Job stands. WAITING: it does not exist yet."""

    WAITING = "waiting"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class JobEnd:
    """How a Job ended: the condition type `Complete` or `Failed`, with upstream's reason and message."""

    type: str
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True)
class JobRecord:
    """The memory of one Job. `restart` is the JobSet's when it was made; `started_at` is None while suspended."""

    created_at: datetime
    restart: int = 0
    started_at: datetime | None = None
    end: JobEnd | None = None


@dataclass(frozen=True)
class BatchJob:
    """One Job of the JobSet with its slots and their records; `record` None: it does not exist."""

    jobset: JobSet
    replicated_job: ReplicatedJob
    index: int
    slots: tuple[Slot, ...]
    pods: tuple[PodRecord, ...]
    record: JobRecord | None = None

    @property
    def name(self) -> str:
        """The Job's name on a cluster."""
        return f"{self.jobset.metadata.name}-{self.replicated_job.name}-{self.index}"

    @property
    def spec(self) -> JobSpec:
        """The Job's spec."""
        return self.replicated_job.template.spec

    @property
    def state(self) -> JobState:
        """Where it stands."""
        if self.record is None:
            return JobState.WAITING
        if self.record.end is not None:
            return JobState.SUCCEEDED if self.record.end.type == COMPLETE else JobState.FAILED
        return JobState.ACTIVE if self.record.started_at is not None else JobState.SUSPENDED

    @property
    def is_finished(self) -> bool:
        """Whether it is complete or failed."""
        return self.record is not None and self.record.end is not None

    @property
    def ending(self) -> JobEnd:
        """How it ended; it must have."""
        assert self.record is not None
        assert self.record.end is not None
        return self.record.end

    @property
    def is_ready(self) -> bool:
        """Whether enough pods are ready or done (JobSet: ready pods + succeeded >= completions)."""
        return all(pod.ready or pod.succeeded for pod in self.pods)

    def end(self, type: str, reason: str, message: str, at: datetime) -> "BatchJob":
        """Return the Job with its end."""
        assert self.record is not None
        return replace(self, record=replace(self.record, end=JobEnd(type, reason, message, at)))


def build_job(job: BatchJob) -> JSON:
    """Return a Job that exists as batch/v1 has it."""
    record, jobset = job.record, job.jobset.metadata
    assert record is not None, "only a Job that exists is written"
    wire = job.replicated_job.template.model_dump(by_alias=True, exclude_unset=True)
    marks = build_jobset_labels(job.jobset, job.replicated_job, job.index, record.restart)
    owner = {"apiVersion": JOBSET_API_VERSION, "kind": "JobSet", "name": jobset.name, "uid": jobset.uid}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job.name,
            "namespace": jobset.namespace,
            "uid": get_job_uid(job.jobset, job.name, record.restart),
            "creationTimestamp": format_micro_time(record.created_at),
            "labels": {**(find(wire, "metadata", "labels") or {}), **marks},
            "annotations": {**(find(wire, "metadata", "annotations") or {}), **marks},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {**(wire.get("spec") or {}), "suspend": job.state is JobState.SUSPENDED},
        "status": _write_status(job, record),
    }


def read_job(wire: JSON) -> JobRecord:
    """Read the record back from a Job."""
    conditions = find(wire, "status", "conditions") or []
    ends = (c for kind in (COMPLETE, FAILED) if (c := find_condition(conditions, kind)) is not None)
    end = next((JobEnd(c["type"], c["reason"], c["message"], parse_time(c["lastTransitionTime"])) for c in ends), None)
    started = find(wire, "status", "startTime")
    return JobRecord(
        created_at=parse_time(find(wire, "metadata", "creationTimestamp")),
        restart=int(find(wire, "metadata", "labels", labels.RESTART_ATTEMPT) or 0),
        started_at=parse_time(started) if started else None,
        end=end,
    )


def read_jobs(wires: Sequence[JSON], restart: int) -> dict[str, JobRecord]:
    """Return the records of the Jobs of this restart of the JobSet, by their names."""
    records = {str(find(wire, "metadata", "name")): read_job(wire) for wire in wires}
    return {name: record for name, record in records.items() if record.restart == restart}


def write_indexes(indexes: Sequence[int]) -> str:
    """Return indexes (ascending) as a Job's status has them: `0,2-4`."""
    runs: list[list[int]] = []
    for index in indexes:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def read_indexes(text: str) -> frozenset[int]:
    """Read indexes as `write_indexes` writes them."""
    ends = [part.split("-") for part in text.split(",") if part]
    return frozenset(index for pair in ends for index in range(int(pair[0]), int(pair[-1]) + 1))


def _write_status(job: BatchJob, record: JobRecord) -> JSON:
    live = [] if job.is_finished else [pod for pod in job.pods if get_phase(pod) in ("Pending", "Running")]
    done = [slot.index for slot, pod in zip(job.slots, job.pods, strict=True) if pod.succeeded]
    status: JSON = {
        "active": len(live) if job.state is JobState.ACTIVE else 0,
        "ready": sum(pod.ready for pod in live),
        "succeeded": len(done),
        "failed": sum(pod.failures for pod in job.pods),
    }
    if done:
        status["completedIndexes"] = write_indexes(done)
    if record.started_at is not None:
        status["startTime"] = format_micro_time(record.started_at)
    if record.end is not None:
        status = put(status, ("conditions",), [_write_end(record.end)])
        if record.end.type == COMPLETE:
            status["completionTime"] = format_micro_time(record.end.at)
    return status


def _write_end(end: JobEnd) -> JSON:
    return {
        "type": end.type,
        "status": "True",
        "reason": end.reason,
        "message": end.message,
        "lastTransitionTime": format_micro_time(end.at),
    }
