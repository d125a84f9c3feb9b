"""What a pod failure policy says of a failed pod (batch/v1 podFailurePolicy, for pods with restartPolicy Never)."""

from dataclasses import dataclass, replace

from trainlet.apis.batch_v1 import JobSpec, PodFailureRule
from trainlet.planning.records import DISRUPTED, PodRecord, Termination
from trainlet.planning.slots import Slot

FAIL_JOB, FAIL_INDEX, IGNORE = "FailJob", "FailIndex", "Ignore"


def apply_policy(record: PodRecord, slot: Slot) -> PodRecord:
    """Return the record of a pod that has just failed as the Job's policy takes it: not to be counted, or given up."""
    found = find_rule(slot, record)
    if found is None:
        return record
    if found.rule.action == IGNORE:
        return replace(record, containers={name: each.ignore() for name, each in record.containers.items()})
    return replace(record, given_up=True) if found.rule.action == FAIL_INDEX else record


@dataclass(frozen=True)
class Match:
    """The rule that decides about a failed pod, its place in the policy, and the container that it fits."""

    rule: PodFailureRule
    place: int
    container: str
    end: Termination


def find_rule(slot: Slot, record: PodRecord) -> Match | None:
    """Return the first rule that fits a failed pod; None for any other, or where no policy counts."""
    policy = slot.job_spec.pod_failure_policy
    if policy is None or not slot.makes_new_pods:
        return None
    failures = [(name, end) for name, end in record.list_ends() if end.exit_code != 0]
    return next(
        (
            Match(rule, place, name, end)
            for place, rule in enumerate(policy.rules)
            for name, end in failures
            if _fits(rule, name, end)
        ),
        None,
    )


def is_index_failed(spec: JobSpec, record: PodRecord) -> bool:
    """Tell whether an index has failed for good: by a rule, or over its own limit."""
    limit = spec.backoff_limit_per_index
    return record.given_up or (limit is not None and record.failures > limit)


def _fits(rule: PodFailureRule, container: str, end: Termination) -> bool:
    codes = rule.on_exit_codes
    if codes is not None:
        is_named = codes.container_name in (None, container)
        return is_named and end.counted and (end.exit_code in codes.values) == (codes.operator == "In")
    wanted = {condition.type for condition in rule.on_pod_conditions if condition.status == "True"}
    return end.reason == DISRUPTED and "DisruptionTarget" in wanted
