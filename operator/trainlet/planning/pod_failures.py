"""What a pod failure policy says of a failed pod (batch/v1 podFailurePolicy, for pods with restartPolicy Never)."""

from trainlet.apis.batch_v1 import ExitCodes, JobSpec, PodFailureRule
from trainlet.planning.records import DISRUPTED, PodRecord, Termination
from trainlet.planning.slots import Slot

FAIL_JOB, FAIL_INDEX, IGNORE = "FailJob", "FailIndex", "Ignore"


def apply_policy(record: PodRecord, slot: Slot) -> PodRecord:
    """Return the record of a pod that has just failed as the Job's policy takes it: not counted, or given up."""
    end = record.termination
    rule = find_rule(slot, end) if end is not None else None
    if rule is None:
        return record
    action = rule[1].action
    if action == IGNORE:
        return record.ignore()
    return record.give_up() if action == FAIL_INDEX else record


def find_rule(slot: Slot, end: Termination) -> tuple[int, PodFailureRule] | None:
    """Return the first rule that fits a failure, with its place; None for a success or where no policy counts."""
    policy = slot.job_spec.pod_failure_policy
    if policy is None or end.exit_code == 0 or slot.job_spec.template.spec.restart_policy != "Never":
        return None
    return next(((i, rule) for i, rule in enumerate(policy.rules) if _fits(rule, slot, end)), None)


def is_index_failed(spec: JobSpec, record: PodRecord) -> bool:
    """Tell whether an index has failed for good: by a rule, or over its own limit."""
    limit = spec.backoff_limit_per_index
    return record.given_up or (limit is not None and record.failures > limit)


def _fits(rule: PodFailureRule, slot: Slot, end: Termination) -> bool:
    if rule.on_exit_codes is not None:
        return _fits_code(rule.on_exit_codes, slot, end)
    wanted = {condition.type for condition in rule.on_pod_conditions if condition.status == "True"}
    return end.reason == DISRUPTED and "DisruptionTarget" in wanted


def _fits_code(codes: ExitCodes, slot: Slot, end: Termination) -> bool:
    if codes.container_name not in (None, slot.container.name):
        return False
    return (end.exit_code in codes.values) == (codes.operator == "In")
