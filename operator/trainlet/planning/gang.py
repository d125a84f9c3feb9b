"""The Jobs of a JobSet together: which may begin, when the JobSet has ended, and when all of it starts over.

Follows kubernetes-sigs/jobset pkg/controllers (depends_on, startup_policy, success_policy, failure_policy).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trainlet.apis.jobset import FailurePolicyRule, JobSet, ReplicatedJob
from trainlet.kube.conditions import find_condition, is_true, set_condition
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON
from trainlet.planning.job_ends import judge_end
from trainlet.planning.jobs import FAILED, BatchJob, JobRecord, JobState
from trainlet.planning.records import PodRecord, build_record
from trainlet.planning.slots import Slot

#: Tells whether a manifest's pattern matches somewhere in a text.
FindMatch = Callable[[str, str], bool]

COMPLETED = "Completed"
RESTARTING = "RestartingJobSet"


@dataclass(frozen=True)
class Verdict:
    """How a JobSet or a TrainJob ended: the TrainJob's condition type with upstream's reason and message."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True)
class Restart:
    """All Jobs are to be made anew. `reason` and `message` are the condition's, `action` is the event's reason."""

    reason: str
    message: str
    action: str
    is_counted: bool


@dataclass(frozen=True)
class Gang:
    """The memory of a JobSet. `restarts` counts those of all Jobs, `counted` those that `maxRestarts` limits."""

    restarts: int = 0
    counted: int = 0
    conditions: tuple[JSON, ...] = ()

    def restart(self, restart: Restart, now: datetime) -> "Gang":
        """Return the memory of a JobSet that starts over now."""
        gang = replace(self, restarts=self.restarts + 1, counted=self.counted + restart.is_counted)
        return gang.note(RESTARTING, True, restart.reason, restart.message, now)

    def note(self, type: str, status: bool, reason: str, message: str, now: datetime) -> "Gang":
        """Return the memory with this condition."""
        return replace(self, conditions=tuple(set_condition(self.conditions, type, status, reason, message, now)))

    def settle(self, type: str, reason: str, message: str, now: datetime) -> "Gang":
        """Return the memory with this condition no longer true, if it was."""
        return self.note(type, False, reason, message, now) if is_true(self.conditions, type) else self


def read_gang(jobset: JSON | None) -> Gang:
    """Read the memory back from a stored JobSet."""
    status = find(jobset, "status") or {}
    return Gang(
        restarts=int(status.get("restarts") or 0),
        counted=int(status.get("restartsCountTowardsMax") or 0),
        conditions=tuple(status.get("conditions") or ()),
    )


@dataclass(frozen=True)
class Roll:
    """What the Jobs of a JobSet are judged by: slots, their records, and what is remembered of Jobs by name.

    `begun` names Jobs that must have begun, whatever is remembered; `held` those whose predecessors are not gone.
    """

    jobset: JobSet
    slots: Sequence[Slot]
    pods: Mapping[str, PodRecord]
    jobs: Mapping[str, JobRecord]
    restart: int
    begun: frozenset[str]
    held: frozenset[str]


def call_roll(roll: Roll, now: datetime) -> tuple[BatchJob, ...]:
    """Return all Jobs of a JobSet as they are now, in the order of its template."""
    mine: dict[str, list[Slot]] = {}
    for slot in roll.slots:
        mine.setdefault(slot.job_name, []).append(slot)
    jobs: list[BatchJob] = []
    for rjob in roll.jobset.spec.replicated_jobs:
        earlier = tuple(jobs)
        for index in range(rjob.replicas):
            job = BatchJob(roll.jobset, rjob, index, (), ())
            slots = tuple(mine.get(job.name, ()))
            pods = tuple(_get_current(roll, slot, now) for slot in slots)
            jobs.append(_judge(roll, replace(job, slots=slots, pods=pods), earlier, now))
    return tuple(jobs)


def judge_gang(jobset: JobSet, jobs: Sequence[BatchJob], gang: Gang, find_match: FindMatch) -> Verdict | Restart | None:
    """Return how the JobSet ended, or that it starts over. Failure is looked at before success, as JobSet does."""
    failed = sorted((job for job in jobs if job.state is JobState.FAILED), key=_get_end_time)
    if failed:
        return _judge_failure(jobset, failed, gang, find_match)
    return _judge_success(jobset, jobs)


def update_conditions(jobset: JobSet, jobs: Sequence[BatchJob], gang: Gang, now: datetime) -> Gang:
    """Return the memory of an unfinished JobSet with the conditions that its Jobs give it."""
    if jobset.spec.suspend:
        gang = gang.settle(RESTARTING, "JobSetSuspended", "jobset is suspended", now)
        return gang.note("Suspended", True, "SuspendedJobs", "jobset is suspended", now)
    gang = gang.settle("Suspended", "ResumeJobs", "jobset is resumed", now)
    all_ready = all(job.state is JobState.SUCCEEDED or (job.record and job.is_ready) for job in jobs)
    if all_ready:
        gang = gang.settle(RESTARTING, "JobsReady", "all jobs are ready", now)
    if jobset.spec.startup_policy.startup_policy_order != "InOrder":
        return gang
    if not all_ready and find_condition(gang.conditions, "StartupPolicyCompleted") is None:
        message = "in order startup policy is in progress"
        return gang.note("StartupPolicyInProgress", True, "InOrderStartupPolicyInProgress", message, now)
    gang = gang.settle("StartupPolicyInProgress", "InOrderStartupPolicyCompleted", "startup policy is completed", now)
    message = "all replicated jobs have started"
    return gang.note("StartupPolicyCompleted", True, "InOrderStartupPolicyCompleted", message, now)


def end_conditions(gang: Gang, verdict: Verdict, now: datetime) -> Gang:
    """Return the memory of a JobSet that has ended."""
    type = FAILED if verdict.type == FAILED else COMPLETED
    gang = gang.settle(RESTARTING, f"JobSet{type}", verdict.message, now)
    return gang.note(type, True, verdict.reason, verdict.message, now)


def _get_current(roll: Roll, slot: Slot, now: datetime) -> PodRecord:
    """Return the record of a slot's pod in this restart of the JobSet; an earlier one's says nothing of it."""
    record = roll.pods[slot.hostname]
    return record if record.restart == roll.restart else build_record(slot, now, roll.restart)


def _judge(roll: Roll, job: BatchJob, earlier: Sequence[BatchJob], now: datetime) -> BatchJob:
    record = roll.jobs.get(job.name)
    if record is None:
        if job.name not in roll.begun and (job.name in roll.held or not _may_begin(roll.jobset, job, earlier)):
            return job
        record = JobRecord(now, roll.restart)
    if record.end is not None:
        return replace(job, record=record)
    started_at = None if roll.jobset.spec.suspend else record.started_at or now
    return judge_end(replace(job, record=replace(record, started_at=started_at)), now)


def _may_begin(jobset: JobSet, job: BatchJob, earlier: Sequence[BatchJob]) -> bool:
    """JobSet's dependsOn (`Ready` counts Jobs that are ready, succeeded or failed) and startupPolicy InOrder."""
    in_order = jobset.spec.startup_policy.startup_policy_order == "InOrder"
    if in_order and not all(map(_is_up, earlier)):
        return False
    tests: dict[str, Callable[[BatchJob], bool]] = {"Complete": _is_complete, "Ready": _is_up}
    return all(
        tests[dependency.status](other)
        for dependency in job.replicated_job.depends_on
        for other in earlier
        if other.replicated_job.name == dependency.name
    )


def _is_complete(job: BatchJob) -> bool:
    return job.state is JobState.SUCCEEDED


def _is_up(job: BatchJob) -> bool:
    return job.is_finished or (job.state is JobState.ACTIVE and job.is_ready)


def _judge_failure(jobset: JobSet, failed: Sequence[BatchJob], gang: Gang, find_match: FindMatch) -> Verdict | Restart:
    """Apply the failure policy to the failed Jobs, the first of them first."""
    policy = jobset.spec.failure_policy
    if policy is None:
        message = "jobset failed due to one or more job failures"
        return Verdict(FAILED, "FailedJobs", f"{message} {_name(failed[0])}")
    rule, job = _find_rule(policy.rules, failed, find_match)
    action = rule.action if rule is not None else "RestartJobSet"
    if action == "FailJobSet":
        message = f"applying FailJobSet failure policy action {_name(job)}"
        return Verdict(FAILED, "FailJobSetFailurePolicyAction", message)
    is_counted = action == "RestartJobSet"
    if is_counted and gang.counted >= policy.max_restarts:
        message = f"jobset failed due to reaching max number of restarts {_name(job)}"
        return Verdict(FAILED, "ReachedMaxRestarts", message)
    reason = f"FailurePolicy_{rule.name}" if rule is not None else "DefaultFailurePolicy"
    message = f"applying {action} failure policy action {_name(job)}"
    return Restart(reason, message, f"{action}FailurePolicyAction", is_counted)


def _find_rule(
    rules: Sequence[FailurePolicyRule], failed: Sequence[BatchJob], find_match: FindMatch
) -> tuple[FailurePolicyRule | None, BatchJob]:
    """Return the first rule that any failed Job fits, and the first such Job."""
    fits = ((rule, job) for rule in rules for job in failed if _fits(rule, job, find_match))
    return next(fits, (None, failed[0]))


def _fits(rule: FailurePolicyRule, job: BatchJob, find_match: FindMatch) -> bool:
    end, reasons, patterns = job.ending, rule.on_job_failure_reasons, rule.on_job_failure_message_patterns
    targets = rule.target_replicated_jobs
    return (
        (not targets or job.replicated_job.name in targets)
        and (not reasons or end.reason in reasons)
        and (not patterns or any(find_match(pattern, end.message) for pattern in patterns))
    )


def _judge_success(jobset: JobSet, jobs: Sequence[BatchJob]) -> Verdict | None:
    policy = jobset.spec.success_policy
    targets = [job for job in jobs if _is_target(job.replicated_job, policy.target_replicated_jobs)]
    is_met = any if policy.operator == "Any" else all
    if not is_met(job.state is JobState.SUCCEEDED for job in targets):
        return None
    return Verdict("Complete", "AllJobsCompleted", "jobset completed successfully")


def _is_target(rjob: ReplicatedJob, targets: Sequence[str]) -> bool:
    return not targets or rjob.name in targets


def _name(job: BatchJob) -> str:
    return f"(first failed job: {job.name})"


def _get_end_time(job: BatchJob) -> datetime:
    return job.ending.at
