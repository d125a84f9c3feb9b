"""TrainJob status as the upstream controller writes it (kubeflow/trainer pkg/controller/trainjob_controller.go)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from trainlet.apis.trainer import TrainJob
from trainlet.kube.conditions import find_condition, is_true, set_condition
from trainlet.kube.meta import JSON, parse_time
from trainlet.planning.gang import Verdict
from trainlet.planning.jobs import COMPLETE, FAILED, BatchJob, JobState
from trainlet.planning.records import get_phase

SUSPENDED = "Suspended"
DEADLINE_EXCEEDED = "DeadlineExceeded"


def is_finished(status: JSON) -> bool:
    """Whether the TrainJob is complete or failed; neither is ever taken back."""
    conditions = status.get("conditions") or []
    return is_true(conditions, COMPLETE) or is_true(conditions, FAILED)


def find_finish_time(status: JSON) -> datetime | None:
    """Return when the TrainJob became complete or failed, or None."""
    conditions = status.get("conditions") or []
    times = (
        c.get("lastTransitionTime") for c in conditions if c["type"] in (COMPLETE, FAILED) and c["status"] == "True"
    )
    return next((parse_time(time) for time in times if time), None)


def has_exceeded_deadline(status: JSON) -> bool:
    """Tell whether the TrainJob failed by its deadline; upstream deletes the JobSet of such a job."""
    condition = find_condition(status.get("conditions") or [], FAILED)
    return condition is not None and condition["reason"] == DEADLINE_EXCEEDED


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
        status["jobsStatus"] = count_jobs(jobs, ended=verdict is not None and verdict.reason != DEADLINE_EXCEEDED)
    return status


def _set_suspended(job: TrainJob, conditions: Sequence[JSON], now: datetime) -> list[JSON]:
    if job.spec.suspend:
        return set_condition(conditions, SUSPENDED, True, "Suspended", "TrainJob is suspended", now)
    if is_true(conditions, SUSPENDED):
        return set_condition(conditions, SUSPENDED, False, "Resumed", "TrainJob is resumed", now)
    return list(conditions)


def count_jobs(jobs: Sequence[BatchJob], *, ended: bool) -> list[JSON]:
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
    return any(get_phase(pod) in ("Pending", "Running") for pod in job.pods)
