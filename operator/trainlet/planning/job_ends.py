"""When a batch Job ends: one function a rule, in the order in which the Job controller asks them."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from trainlet.apis.batch_v1 import SuccessRule
from trainlet.planning.jobs import COMPLETE, FAILED, BatchJob, JobState, read_indexes
from trainlet.planning.lifecycle import has_pod_failed
from trainlet.planning.pod_failures import FAIL_JOB, find_rule, is_index_failed
from trainlet.planning.pods import get_pod_name
from trainlet.planning.records import PodRecord
from trainlet.planning.slots import Slot

DEADLINE_EXCEEDED = "DeadlineExceeded"

#: Type, reason and message of an end.
End = tuple[str, str, str]


def judge_end(job: BatchJob, now: datetime) -> BatchJob:
    """Return an unfinished Job with its end, if it has come to one."""
    end = next((found for rule in _RULES if (found := rule(job, now)) is not None), None)
    return job if end is None else job.end(*end, _get_end_time(job, end, now))


def get_deadline(job: BatchJob) -> datetime | None:
    """Return when an active Job is over its `activeDeadlineSeconds`, or None."""
    seconds, record = job.spec.active_deadline_seconds, job.record
    if seconds is None or record is None or record.started_at is None or job.state is not JobState.ACTIVE:
        return None
    return record.started_at + timedelta(seconds=seconds)


def _complete(job: BatchJob, now: datetime) -> End | None:  # noqa: ARG001 - the shape of a rule
    if all(pod.succeeded for pod in job.pods):
        return COMPLETE, "CompletionsReached", "Reached expected number of succeeded pods"
    return None


def _meet_success_policy(job: BatchJob, now: datetime) -> End | None:  # noqa: ARG001 - the shape of a rule
    policy = job.spec.success_policy
    done = frozenset(slot.index for slot, pod in _pairs(job) if pod.succeeded)
    for place, rule in enumerate(policy.rules if policy else ()):
        if _is_met(rule, done):
            return COMPLETE, "SuccessPolicy", f"Matched rules at index {place}"
    return None


def _fail_by_rule(job: BatchJob, now: datetime) -> End | None:  # noqa: ARG001 - the shape of a rule
    for slot, pod in _pairs(job):
        found = find_rule(slot, pod) if has_pod_failed(slot, pod) else None
        if found is None or found.rule.action != FAIL_JOB:
            continue
        name = f"{slot.owner.namespace}/{get_pod_name(slot, pod)}"
        by_code = found.rule.on_exit_codes is not None
        what = f"failed with exit code {found.end.exit_code}" if by_code else "has condition DisruptionTarget"
        subject = f"Container {found.container} for pod {name}" if by_code else f"Pod {name}"
        return FAILED, "PodFailurePolicy", f"{subject} {what} matching FailJob rule at index {found.place}"
    return None


def _exceed_backoff_limit(job: BatchJob, now: datetime) -> End | None:  # noqa: ARG001 - the shape of a rule
    """In-place restarts fail the Job at the limit, new pods above it; with a limit per index the default is none."""
    spec = job.spec
    if spec.backoff_limit_per_index is not None and "backoff_limit" not in spec.model_fields_set:
        return None
    failures = sum(pod.failures for pod in job.pods)
    starts_again = spec.template.spec.restart_policy != "Never" and spec.backoff_limit > 0
    if failures < spec.backoff_limit or (failures == spec.backoff_limit and not starts_again):
        return None
    return FAILED, "BackoffLimitExceeded", "Job has reached the specified backoff limit"


def _exceed_deadline(job: BatchJob, now: datetime) -> End | None:
    deadline = get_deadline(job)
    if deadline is None or now < deadline:
        return None
    return FAILED, DEADLINE_EXCEEDED, "Job was active longer than specified deadline"


def _fail_indexes(job: BatchJob, now: datetime) -> End | None:  # noqa: ARG001 - the shape of a rule
    spec = job.spec
    failed = sum(is_index_failed(spec, pod) for pod in job.pods)
    if spec.max_failed_indexes is not None and failed > spec.max_failed_indexes:
        return FAILED, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    if failed and all(pod.succeeded or is_index_failed(spec, pod) for pod in job.pods):
        return FAILED, "FailedIndexes", "Job has failed indexes"
    return None


_RULES: tuple[Callable[[BatchJob, datetime], End | None], ...] = (
    _complete,
    _fail_by_rule,
    _exceed_backoff_limit,
    _exceed_deadline,
    _fail_indexes,
    _meet_success_policy,
)


def _is_met(rule: SuccessRule, done: frozenset[int]) -> bool:
    wanted = None if rule.succeeded_indexes is None else read_indexes(rule.succeeded_indexes)
    counted = done if wanted is None else done & wanted
    if rule.succeeded_count is not None:
        return len(counted) >= rule.succeeded_count
    return wanted is not None and counted == wanted


def _pairs(job: BatchJob) -> Iterator[tuple[Slot, PodRecord]]:
    return zip(job.slots, job.pods, strict=True)


def _get_end_time(job: BatchJob, end: End, now: datetime) -> datetime:
    """Return when the pod ended that decided it, as the operator may have been away; a deadline is seen now."""
    type, reason, _ = end
    if reason == DEADLINE_EXCEEDED:
        return now
    ends = [end for pod in job.pods for _, end in pod.list_ends()]
    times = [end.finished_at for end in ends if end.succeeded == (type == COMPLETE)]
    return max(times, default=now)
