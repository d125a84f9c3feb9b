"""Our own TrainJobReport: what upstream's status has no place for, for people and for `trainlet get`."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from trainlet.apis.trainer import REPORT, REPORT_API_VERSION, TrainJob
from trainlet.kube.conditions import is_true, set_condition
from trainlet.kube.meta import JSON, format_time
from trainlet.planning.lifecycle import BatchJob
from trainlet.planning.records import PodRecord, Termination
from trainlet.planning.slots import Slot
from trainlet.planning.status import COMPLETE, FAILED


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
    jobs: Sequence[BatchJob],
    addresses: dict[str, str],
    conditions: list[JSON],
    now: datetime,
) -> JSON:
    """Return the report of an accepted job; `addresses` is by slot, `conditions` those reported before."""
    phase = get_phase(job, status, jobs)
    records = [(slot, record) for j in jobs for slot, record in zip(j.slots, j.records, strict=True)]
    running = sum(record.running for _, record in records)
    message = f"{running} of {len(records)} nodes are running"
    conditions = set_condition(conditions, "Running", phase is Phase.RUNNING, str(phase), message, now)
    body: JSON = {
        "phase": str(phase),
        "conditions": conditions,
        "restarts": sum(record.attempt for _, record in records),
        "nodes": [_describe_node(slot, record, addresses.get(slot.hostname)) for slot, record in records],
    }
    if (cause := find_root_cause(records, phase)) is not None:
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


def get_phase(job: TrainJob, status: JSON, jobs: Sequence[BatchJob]) -> Phase:
    """Return the phase of an accepted job."""
    conditions = status.get("conditions") or []
    if is_true(conditions, FAILED):
        return Phase.FAILED
    if is_true(conditions, COMPLETE):
        return Phase.COMPLETE
    if job.spec.suspend:
        return Phase.SUSPENDED
    records = [record for j in jobs for record in j.records]
    if any(r.termination is not None and not r.termination.succeeded for r in records):
        return Phase.RESTARTING
    if records and all(r.running or r.succeeded for r in records):
        return Phase.RUNNING
    return Phase.RESTARTING if any(r.attempt for r in records) else Phase.PENDING


def find_root_cause(records: Sequence[tuple[Slot, PodRecord]], phase: Phase) -> JSON | None:
    """Return the first node that failed in the latest round of a job that is failed or restarting."""
    if phase not in (Phase.FAILED, Phase.RESTARTING):
        return None
    failures = [(slot, end) for slot, record in records if (end := record.last_failure) is not None]
    counted = [(slot, end) for slot, end in failures if end.counted] or failures
    if not counted:
        return None
    slot, end = min(counted, key=lambda item: item[1].finished_at)
    return {"node": slot.step, **_describe_end(end)}


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
