"""Our own TrainJobReport: what upstream's status has no place for, for people and for `trainlet get`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from signal import Signals

from trainlet.apis.trainer import REPORT, REPORT_API_VERSION, TrainJob
from trainlet.kube.conditions import find_condition, is_true, set_condition
from trainlet.kube.meta import JSON, format_time
from trainlet.planning.devices import QUEUED, Shortage, build_queue_condition
from trainlet.planning.diagnosis import diagnose
from trainlet.planning.jobs import COMPLETE, FAILED
from trainlet.planning.observed import ObservedImage
from trainlet.planning.pulls import IMAGES_PULLED, build_pull_condition, find_architecture_problem
from trainlet.planning.records import ContainerRecord, PodRecord, Termination
from trainlet.planning.slots import Member, Role, Slot

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
    images: Mapping[str, ObservedImage],
    shortage: Shortage | None = None,
) -> JSON:
    """Return the report of an accepted job.

    `addresses` are by slot, `restarts` counts those of all nodes together, `before` is the status reported last,
    `shortage` why the job has not all its GPUs.
    """
    phase = get_phase(job, status, [record for _, record in nodes], restarts, shortage)
    running = sum(record.running for _, record in nodes)
    conditions = before.get("conditions") or []
    message = f"{running} of {len(nodes)} nodes are running"
    conditions = set_condition(conditions, "Running", phase is Phase.RUNNING, str(phase), message, now)
    if (pulled := build_pull_condition(images, now)) is not None:
        conditions = set_condition(conditions, IMAGES_PULLED, *pulled, now)
    if shortage is not None or find_condition(conditions, QUEUED) is not None:
        conditions = set_condition(conditions, QUEUED, *build_queue_condition(shortage), now)
    body: JSON = {
        "phase": str(phase),
        "conditions": conditions,
        # When all nodes start over their own counts begin anew; what was told once stays told.
        "restarts": max(int(before.get("restarts") or 0), restarts + sum(pod.restarts for _, pod in nodes)),
        "nodes": [_describe_node(slot, record, addresses.get(slot.hostname)) for slot, record in nodes],
    }
    # A node that was brought down because all start over has not begun that.
    suspects = [(slot, pod) for slot, pod in nodes if pod.restart == restarts or _has_failed(pod)]
    cause = find_root_cause(suspects, phase)
    if cause is None and phase is Phase.RESTARTING:
        cause = before.get("rootCause")  # the pods that failed are gone, and those after them have not begun
    if cause is not None:
        body["rootCause"] = _name_image(cause, before.get("rootCause") or {}, images)
    return wrap_report(job.metadata.namespace, job.metadata.name, body)


def wrap_report(namespace: str, name: str, status: JSON) -> JSON:
    """Return the report document with this body."""
    return {
        "apiVersion": REPORT_API_VERSION,
        "kind": REPORT,
        "metadata": {"name": name, "namespace": namespace},
        "status": status,
    }


def get_phase(
    job: TrainJob, status: JSON, pods: Sequence[PodRecord], restarts: int, shortage: Shortage | None = None
) -> Phase:
    """Return the phase of an accepted job."""
    conditions = status.get("conditions") or []
    if is_true(conditions, FAILED):
        return Phase.FAILED
    if is_true(conditions, COMPLETE):
        return Phase.COMPLETE
    if job.spec.suspend:
        return Phase.SUSPENDED
    if any(pod.restart < restarts or any(not end.succeeded for _, end in pod.list_ends()) for pod in pods):
        return Phase.RESTARTING
    if pods and all(pod.running or pod.succeeded for pod in pods):
        return Phase.RUNNING
    if shortage is not None and not shortage.is_final:
        return Phase.QUEUED
    return Phase.RESTARTING if restarts or any(pod.restarts for pod in pods) else Phase.PENDING


def find_root_cause(nodes: Sequence[Node], phase: Phase) -> JSON | None:
    """Return the first node that failed in the latest round of a job that is failed or restarting."""
    if phase not in (Phase.FAILED, Phase.RESTARTING):
        return None
    failures = [(slot, name, end) for slot, pod in nodes for name, end in pod.list_failures()]
    counted = [failure for failure in failures if failure[2].counted] or failures
    return _describe_cause(*min(counted, key=lambda failure: failure[2].finished_at)) if counted else None


def _name_image(cause: JSON, before: JSON, images: Mapping[str, ObservedImage]) -> JSON:
    """Say which image is for another processor, if that was it; what was said stays when images are not looked at."""
    if not images:
        return before if before.get("finishedAt") == cause.get("finishedAt") else cause
    problem = find_architecture_problem([cause.get("message", ""), *cause.get("log", ())], images)
    return {**cause, "remedy": problem} if problem else cause


def _has_failed(pod: PodRecord) -> bool:
    return any(end.counted for _, end in pod.list_failures())


def _describe_cause(slot: Slot, container: str, end: Termination) -> JSON:
    cause: JSON = {"node": slot.step, **_describe_end(end)}
    if container != slot.container.name:
        cause["container"] = container
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


def _describe_node(slot: Slot, pod: PodRecord, address: str | None) -> JSON:
    main = pod.containers[slot.container.name]
    node: JSON = {
        "name": slot.step,
        "rank": slot.index,
        "container": slot.container_name,
        "restarts": pod.restarts,
        "failures": f"{pod.failures} of {slot.job_spec.backoff_limit}",
        **({"address": address} if address is not None and main.termination is None else {}),
        **_describe_container(main),
    }
    members = [member for member in slot.members if member.role is not Role.SANDBOX]
    if len(members) > 1:
        node["containers"] = [_describe_member(member, pod.containers[member.name]) for member in members]
    return node


def _describe_member(member: Member, record: ContainerRecord) -> JSON:
    """Return what is told of one container of several; `step` is what its log is asked for by."""
    names = {"name": member.name, "step": member.step, "container": member.container_name}
    return {**names, "restarts": record.attempt, **_describe_container(record)}


def _describe_container(record: ContainerRecord) -> JSON:
    described: JSON = {"state": _get_state(record)}
    if record.running:
        assert record.started_at is not None
        described["startedAt"] = format_time(record.started_at)
        if record.complaint:
            described["message"] = record.complaint
    if record.waiting is not None:
        described["reason"], described["message"] = record.waiting.reason, record.waiting.message
    if record.termination is not None:
        described.update(_describe_end(record.termination))
    elif record.previous is not None:
        described["last"] = _describe_end(record.previous)
    return described


def _get_state(record: ContainerRecord) -> str:
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
