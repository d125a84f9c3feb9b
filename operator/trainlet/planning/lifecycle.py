"""How slots, Jobs and the JobSet live: from what is remembered and what is seen to what is now true.

Two rules hold the file together. An end is recorded once and never taken back. A container is acted on
only after its end was written down, so that no exit code is lost when the operator dies in between.
Follows the kubelet, batch/v1 Indexed Jobs and JobSet (kubernetes-sigs/jobset pkg/controllers).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from trainlet.apis.jobset import JobSet, ReplicatedJob
from trainlet.planning.observed import ContainerState, ObservedContainer
from trainlet.planning.options import Options
from trainlet.planning.records import CONTAINER_LOST, PodRecord, Termination
from trainlet.planning.slots import Slot

#: The kubelet's longest restart delay, and how long a container must run to start over with short ones.
MAX_BACKOFF_SECONDS = 300.0
BACKOFF_RESET_SECONDS = 600.0


#: What an exit code says by itself. An engine's init reports a command that is not there by 127, with no other word.
_MEANINGS = {
    126: "the command cannot be executed: check its permissions and the image's architecture",
    127: "the command was not found in the image: check command and image",
    134: "aborted (SIGABRT)",
    137: "killed (SIGKILL), possibly because memory ran out",
    139: "crashed (SIGSEGV)",
    143: "ended by SIGTERM",
}


class JobState(StrEnum):
    """Where a batch Job stands. WAITING: its dependencies are not met, so it does not exist yet."""

    WAITING = "waiting"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class BatchJob:
    """One Job of the JobSet with its slots and their records."""

    name: str
    replicated_job: ReplicatedJob
    slots: tuple[Slot, ...]
    records: tuple[PodRecord, ...]
    state: JobState

    @property
    def is_ready(self) -> bool:
        """Whether enough pods run or are done (JobSet: ready pods + succeeded >= completions)."""
        return all(record.running or record.succeeded for record in self.records)


def advance(record: PodRecord, container: ObservedContainer | None, now: datetime) -> PodRecord:
    """Return the record of a slot after a look at its container."""
    if container is None:
        return _lose(record, now) if record.running else record
    if container.attempt > record.attempt:
        record = record.begin(container.attempt, now)
    if container.attempt < record.attempt:
        return record
    if record.termination is not None:
        return record.excuse() if container.disrupted else record
    if container.state is ContainerState.RUNNING:
        return replace(record, started_at=container.started_at or record.started_at or now, waiting=None)
    if container.state is ContainerState.EXITED:
        return record.terminate(_read_end(record, container, now))
    return record


def judge_jobs(
    jobset: JobSet, slots: Sequence[Slot], records: Mapping[str, PodRecord], started: frozenset[str]
) -> tuple[BatchJob, ...]:
    """Return the Jobs with their states; `started` names the Jobs that have begun already."""
    jobs: list[BatchJob] = []
    for rjob in jobset.spec.replicated_jobs:
        for index in range(rjob.replicas):
            jobs.append(_judge(jobset, rjob, index, slots, records, jobs, started))
    return tuple(jobs)


def get_restart_time(record: PodRecord, options: Options) -> datetime | None:
    """Return when a failed attempt may be followed by the next: at once the first time, then after doubling delays.

    The kubelet's rule with its base of 10 s as an option; None for a slot that needs no restart.
    """
    end = record.termination
    if end is None or end.succeeded:
        return None
    ran_long = (
        end.started_at is not None and (end.finished_at - end.started_at).total_seconds() >= BACKOFF_RESET_SECONDS
    )
    if record.attempt == 0 or ran_long:
        return end.finished_at
    delay = min(MAX_BACKOFF_SECONDS, options.restart_backoff_seconds * 2 ** min(record.attempt - 1, 16))
    return end.finished_at + timedelta(seconds=delay)


def _judge(
    jobset: JobSet,
    rjob: ReplicatedJob,
    index: int,
    slots: Sequence[Slot],
    records: Mapping[str, PodRecord],
    earlier: Sequence[BatchJob],
    started: frozenset[str],
) -> BatchJob:
    mine = tuple(s for s in slots if s.replicated_job.name == rjob.name and s.job_index == index)
    known = tuple(records[s.hostname] for s in mine)
    name = f"{jobset.metadata.name}-{rjob.name}-{index}"
    job = BatchJob(name, rjob, mine, known, JobState.ACTIVE)
    if name not in started and not _dependencies_met(rjob, earlier):
        state = JobState.WAITING
    elif all(record.succeeded for record in known):
        state = JobState.SUCCEEDED
    elif _has_failed(job):
        state = JobState.FAILED
    else:
        state = JobState.SUSPENDED if jobset.spec.suspend else JobState.ACTIVE
    return replace(job, state=state)


def _dependencies_met(rjob: ReplicatedJob, earlier: Sequence[BatchJob]) -> bool:
    """JobSet pkg/controllers/depends_on.go; `Ready` counts Jobs that are ready, succeeded or failed."""

    def met(job: BatchJob, status: str) -> bool:
        if job.state is JobState.SUCCEEDED:
            return True
        return status == "Ready" and (job.state is JobState.FAILED or (job.state is JobState.ACTIVE and job.is_ready))

    return all(
        met(job, dependency.status)
        for dependency in rjob.depends_on
        for job in earlier
        if job.replicated_job.name == dependency.name
    )


def _has_failed(job: BatchJob) -> bool:
    """Whether the failures are over the limit: in-place restarts fail the Job at the limit, new pods above it."""
    spec = job.replicated_job.template.spec
    failures = sum(record.failures for record in job.records)
    if spec.template.spec.restart_policy == "Never" or spec.backoff_limit == 0:
        return failures > spec.backoff_limit
    return failures >= spec.backoff_limit


def _lose(record: PodRecord, now: datetime) -> PodRecord:
    """Somebody removed the container: its work is lost, which says nothing about the job."""
    message = "The container is gone from the engine without having been seen to end"
    return record.terminate(Termination(137, CONTAINER_LOST, message, record.started_at, now, counted=False))


def _read_end(record: PodRecord, container: ObservedContainer, now: datetime) -> Termination:
    exit_code = 128 if container.exit_code is None else container.exit_code
    # What ends after we asked it to has not done its work, whatever code it ends with.
    counted = not (container.disrupted or record.stopping_since)
    return Termination(
        exit_code=exit_code,
        reason=_explain(exit_code, container),
        message=container.error or ("" if container.oom_killed else _MEANINGS.get(exit_code, "")),
        started_at=container.started_at,
        finished_at=container.finished_at or now,
        counted=counted,
    )


def _explain(exit_code: int, container: ObservedContainer) -> str:
    if container.disrupted:
        return "Disrupted"
    if container.oom_killed:
        return "OOMKilled"
    return "Completed" if exit_code == 0 else "Error"
