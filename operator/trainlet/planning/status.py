"""TrainJob status as the upstream controller writes it (kubeflow/trainer pkg/controller/trainjob_controller.go)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trainlet.apis.trainer import TrainJob
from trainlet.kube.conditions import find_condition, is_true, set_condition
from trainlet.kube.meta import JSON, parse_time
from trainlet.planning.lifecycle import BatchJob, JobState
from trainlet.planning.records import get_phase

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
DEADLINE_EXCEEDED = "DeadlineExceeded"


@dataclass(frozen=True)
class Verdict:
    """How a JobSet or a TrainJob ended: the condition type with upstream's reason and message."""

    type: str
    reason: str
    message: str


def is_finished(status: JSON) -> bool:
    """Whether the TrainJob is complete or failed; neither is ever taken back."""
    conditions = status.get("conditions") or []
    return is_true(conditions, COMPLETE) or is_true(conditions, FAILED)


def judge_jobset(jobs: Sequence[BatchJob]) -> Verdict | None:
    """Return how the JobSet ended, or None. Failure is looked at before success, as JobSet does."""
    failed = [job for job in jobs if job.state is JobState.FAILED]
    if failed:
        first = min(failed, key=_failed_at)
        message = f"jobset failed due to one or more job failures (first failed job: {first.name})"
        return Verdict(FAILED, "FailedJobs", message)
    if all(job.state is JobState.SUCCEEDED for job in jobs):
        return Verdict(COMPLETE, "AllJobsCompleted", "jobset completed successfully")
    return None


def judge_deadline(job: TrainJob, now: datetime) -> tuple[Verdict | None, datetime | None]:
    """Return the verdict once `activeDeadlineSeconds` is over, else when to look again.

    Counted from creation, or from the last resume; never while suspended.
    """
    seconds = job.spec.active_deadline_seconds
    if not seconds or job.spec.suspend:
        return None, None
    resumed = find_condition(_set_suspended(job, job.status.get("conditions") or [], now), SUSPENDED)
    start = resumed["lastTransitionTime"] if resumed else job.metadata.creation_timestamp
    deadline = parse_time(start) + timedelta(seconds=seconds)
    if now < deadline:
        return None, deadline
    return Verdict(FAILED, DEADLINE_EXCEEDED, "TrainJob exceeded its active deadline"), None


def build_status(job: TrainJob, jobs: Sequence[BatchJob], verdict: Verdict | None, now: datetime) -> JSON:
    """Return the TrainJob's status; `jobs` is empty when there is no news of them."""
    status = dict(job.status)
    conditions = _set_suspended(job, status.get("conditions") or [], now)
    if verdict is not None:
        conditions = set_condition(conditions, verdict.type, True, verdict.reason, verdict.message, now)
    if conditions:
        status["conditions"] = conditions
    if jobs:
        # At the deadline upstream only deletes the JobSet: the last counts stay.
        status["jobsStatus"] = _count_jobs(jobs, ended=verdict is not None and verdict.reason != DEADLINE_EXCEEDED)
    return status


def _set_suspended(job: TrainJob, conditions: Sequence[JSON], now: datetime) -> list[JSON]:
    if job.spec.suspend:
        return set_condition(conditions, SUSPENDED, True, "Suspended", "TrainJob is suspended", now)
    if is_true(conditions, SUSPENDED):
        return set_condition(conditions, SUSPENDED, False, "Resumed", "TrainJob is resumed", now)
    return list(conditions)


def _count_jobs(jobs: Sequence[BatchJob], *, ended: bool) -> list[JSON]:
    """Count Jobs by replicatedJob, names descending; what still ran when the JobSet ended counts as nothing."""
    names = sorted({job.replicated_job.name for job in jobs}, reverse=True)
    return [_count([job for job in jobs if job.replicated_job.name == name], name, ended) for name in names]


def _count(jobs: Sequence[BatchJob], name: str, ended: bool) -> JSON:
    running = [] if ended else [job for job in jobs if job.state is JobState.ACTIVE]
    return {
        "name": name,
        "ready": sum(job.is_ready for job in running),
        "succeeded": sum(job.state is JobState.SUCCEEDED for job in jobs),
        "failed": sum(job.state is JobState.FAILED for job in jobs),
        "active": sum(_is_active(job) for job in running),
        "suspended": 0 if ended else sum(job.state is JobState.SUSPENDED for job in jobs),
    }


def _is_active(job: BatchJob) -> bool:
    return any(get_phase(record) in ("Pending", "Running") for record in job.records)


def _failed_at(job: BatchJob) -> datetime:
    return min(end.finished_at for record in job.records if (end := record.last_failure) is not None)
