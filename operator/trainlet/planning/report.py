"""Our own TrainJobReport: what upstream's status has no place for, for people and for `trainlet get`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from signal import Signals

from trainlet.apis.trainer import REPORT, REPORT_API_VERSION, TrainJob
from trainlet.kube.conditions import is_true, set_condition
from trainlet.kube.meta import JSON, format_time
from trainlet.planning.diagnosis import diagnose
from trainlet.planning.jobs import COMPLETE, FAILED
from trainlet.planning.records import PodRecord, Termination
from trainlet.planning.slots import Slot

#: A slot that has a pod, and what is remembered of it.
Node = tuple[Slot, PodRecord]


class Phase(StrEnum):
    """Where a job stands, in one word."""

    REJECTED = "Rejected"
    QUEUED = "Queued"
    PENDING = "Pending"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


def build_report(
    job: TrainJob,
    status: JSON,
    nodes: Sequence[Node],
    addresses: Mapping[str, str],
    restarts: int,
    before: JSON,
    now: datetime,
) -> JSON:
    """Return the report of an accepted job.

    `addresses` are by slot, `restarts` counts those of all nodes together, `before` is the status reported last.
    """
    phase = get_phase(job, status, [record for _, record in nodes], restarts)
    running = sum(record.running for _, record in nodes)
    conditions = before.get("conditions") or []
    message = f"{running} of {len(nodes)} nodes are running"
    conditions = set_condition(conditions, "Running", phase is Phase.RUNNING, str(phase), message, now)
    body: JSON = {
        "phase": str(phase),
        "conditions": conditions,
        # When all nodes start over their own counts begin anew; what was told once stays told.
        "restarts": max(int(before.get("restarts") or 0), restarts + sum(record.attempt for _, record in nodes)),
        "nodes": [_describe_node(slot, record, addresses.get(slot.hostname)) for slot, record in nodes],
    }
    # A node that was brought down because all start over has not begun that.
    suspects = [(slot, pod) for slot, pod in nodes if pod.restart == restarts or _has_failed(pod)]
    cause = find_root_cause(suspects, phase)
    if cause is None and phase is Phase.RESTARTING:
        cause = before.get("rootCause")  # the pods that failed are gone, and those after them have not begun
    if cause is not None:
        body["rootCause"] = cause
    return wrap_report(job.metadata.namespace, job.metadata.name, body)


def wrap_report(namespace: str, name: str, status: JSON) -> JSON:
    """Return the report document with this body."""
    return {
        "apiVersion": REPORT_API_VERSION,
        "kind": REPORT,
        "metadata": {"name": name, "namespace": namespace},
        "status": status,
    }


def get_phase(job: TrainJob, status: JSON, pods: Sequence[PodRecord], restarts: int) -> Phase:
    """Return the phase of an accepted job."""
    conditions = status.get("conditions") or []
    if is_true(conditions, FAILED):
        return Phase.FAILED
    if is_true(conditions, COMPLETE):
        return Phase.COMPLETE
    if job.spec.suspend:
        return Phase.SUSPENDED
    if any(pod.restart < restarts or (pod.termination and not pod.termination.succeeded) for pod in pods):
        return Phase.RESTARTING
    if pods and all(pod.running or pod.succeeded for pod in pods):
        return Phase.RUNNING
    return Phase.RESTARTING if restarts or any(pod.attempt for pod in pods) else Phase.PENDING


def find_root_cause(nodes: Sequence[Node], phase: Phase) -> JSON | None:
    """Return the first node that failed in the latest round of a job that is failed or restarting."""
    if phase not in (Phase.FAILED, Phase.RESTARTING):
        return None
    failures = [(slot, end) for slot, record in nodes if (end := record.last_failure) is not None]
    counted = [(slot, end) for slot, end in failures if end.counted] or failures
    if not counted:
        return None
    slot, end = min(counted, key=lambda item: item[1].finished_at)
    return _describe_cause(slot, end)


def _has_failed(pod: PodRecord) -> bool:
    return pod.last_failure is not None and pod.last_failure.counted


def _describe_cause(slot: Slot, end: Termination) -> JSON:
    cause: JSON = {"node": slot.step, **_describe_end(end)}
    if (signal := find_signal(end.exit_code)) is not None:
        cause["signal"] = signal
    if (remedy := diagnose(end.exit_code, end.reason, end.log)) is not None:
        cause["remedy"] = remedy
    return {**cause, "log": list(end.log)} if end.log else cause


def find_signal(exit_code: int) -> str | None:
    """Return the name of the signal that an exit code stands for, or None."""
    try:
        return Signals(exit_code - 128).name if exit_code > 128 else None
    except ValueError:
        return None


def _describe_node(slot: Slot, record: PodRecord, address: str | None) -> JSON:
    limit = slot.job_spec.backoff_limit
    node: JSON = {
        "name": slot.step,
        "rank": slot.index,
        "container": slot.container_name,
        "state": _get_state(record),
        "restarts": record.attempt,
        "failures": f"{record.failures} of {limit}",
    }
    if address is not None:
        node["address"] = address
    if record.started_at is not None and record.termination is None:
        node["startedAt"] = format_time(record.started_at)
    if record.waiting is not None:
        node["reason"], node["message"] = record.waiting.reason, record.waiting.message
    if record.termination is not None:
        node.update(_describe_end(record.termination))
    elif record.previous is not None:
        node["last"] = _describe_end(record.previous)
    return node


def _get_state(record: PodRecord) -> str:
    if record.termination is not None:
        return "succeeded" if record.succeeded else "terminated"
    if record.stopping_since is not None:
        return "stopping"
    return "running" if record.started_at is not None else "waiting"


def _describe_end(end: Termination) -> JSON:
    described: JSON = {
        "exitCode": end.exit_code,
        "reason": end.reason,
        "finishedAt": format_time(end.finished_at),
    }
    return {**described, "message": end.message} if end.message else described
