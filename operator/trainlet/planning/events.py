"""What is worth telling of a pass: transitions of nodes, actions, failures and verdicts, as events."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.kube.conditions import find_condition
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, format_time
from trainlet.planning.devices import QUEUED
from trainlet.planning.jobs import FAILED
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    Failure,
    KillContainer,
    Plan,
    PullImage,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    StartContainer,
    StopContainer,
)
from trainlet.planning.reconcile import Draft
from trainlet.planning.records import ContainerRecord, PodRecord, Termination
from trainlet.planning.slots import Role
from trainlet.planning.views import Part
from trainlet.planning.volumes import MOUNT_FAILED

EVENT = "Event"
NORMAL, WARNING = "Normal", "Warning"

#: The event of an action that worked. Workspaces and kept logs are nobody's news; pulls tell their own story.
_DONE: dict[type[Action], str] = {
    CreateNetwork: "NetworkCreated",
    RemoveNetwork: "NetworkRemoved",
    CreateVolume: "VolumeCreated",
    RemoveVolume: "VolumeRemoved",
    CreateContainer: "Created",
    StartContainer: "Started",
    StopContainer: "Killing",
    KillContainer: "Killing",
    RemoveContainer: "Removed",
}

#: What a container may wait for that somebody has to see to, and the reason of the event that tells it.
_TROUBLES = {
    "ErrImagePull": "ErrImagePull",
    "ErrImageNeverPull": "ErrImageNeverPull",
    "CreateContainerConfigError": "Failed",
}
_NO_LOGINS = "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed."


@dataclass(frozen=True)
class Note:
    """One event of a job, without its time. Events of one `series` are one event whose message moves on."""

    type: str
    reason: str
    message: str
    series: str = ""


def get_event_key(job: ObjectKey, note: Note) -> ObjectKey:
    """Return the key of the event that a note of a job is, or adds to."""
    digest = hashlib.sha256(f"{note.reason}/{note.series or note.message}".encode()).hexdigest()[:16]
    return ObjectKey(EVENT, job.namespace, f"{job.name}.{digest}")


def build_event(job: ObjectKey, note: Note, old: JSON | None, now: datetime) -> JSON:
    """Return the core/v1 Event of a note; `old` is the event of its key that there is already."""
    time, key = format_time(now), get_event_key(job, note)
    return {
        "apiVersion": "v1",
        "kind": EVENT,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "creationTimestamp": find(old, "metadata", "creationTimestamp") or time,
        },
        "involvedObject": {"kind": TRAIN_JOB, "namespace": job.namespace, "name": job.name},
        "type": note.type,
        "reason": note.reason,
        "message": note.message,
        "count": int(find(old, "count") or 0) + 1,
        "firstTimestamp": find(old, "firstTimestamp") or time,
        "lastTimestamp": time,
        "source": {"component": "trainlet"},
    }


def build_notes(draft: Draft, failures: Sequence[Failure]) -> list[Note]:
    """Return what a pass has to tell, in the order in which it happened."""
    return [
        *_tell_shortage(draft),
        *_tell_ends(draft),
        *_tell_actions(draft.plan, failures),
        *(Note(WARNING, f"{type(f.action).__name__}Failed", f"{f.action.target}: {f.message}") for f in failures),
        *_tell_outcome(draft),
    ]


def _tell_shortage(draft: Draft) -> Iterable[Note]:
    """Tell once why GPUs are waited for; that others come or go meanwhile is no news."""
    shortage = draft.scene.observed.devices.shortage
    told = find_condition(find(draft.scene.case.report, "status", "conditions") or [], QUEUED) or {}
    if shortage is not None and told.get("reason") != shortage.reason:
        yield Note(WARNING, "FailedScheduling", f"{shortage.scheduler_message} {shortage.message}")


def _tell_ends(draft: Draft) -> Iterable[Note]:
    for name, plan in draft.slot_plans.items():
        for part in draft.scene.views[name].parts:
            if part.member.role is not Role.SANDBOX:
                yield from _tell_end(part, plan.record)


def _tell_end(part: Part, after: PodRecord) -> Iterable[Note]:
    slot, pod, end = part.view.slot, part.view.record, part.record.termination
    if end is not None and not part.is_end_written:
        yield _describe_end(part.member.step, pod, end, slot.job_spec.backoff_limit)
    written = part.view.written
    before = written.containers[part.member.name] if written is not None else ContainerRecord()
    now = after.containers[part.member.name]
    if now.complaint and now.complaint != before.complaint:
        yield Note(WARNING, "Unhealthy", f"{part.member.step}: {now.complaint}")
    waiting, is_news = now.waiting, now.waiting != before.waiting
    if waiting is None or not is_news:
        return
    reason = "FailedMount" if waiting.message.startswith(MOUNT_FAILED) else _TROUBLES.get(waiting.reason)
    if reason is not None:
        yield Note(WARNING, reason, f"{part.member.step}: {waiting.message}")


def _describe_end(step: str, record: PodRecord, end: Termination, limit: int) -> Note:
    if end.succeeded:
        return Note(NORMAL, "Completed", f"{step} ended with exit code 0")
    counted = f"failure {record.failures} of {limit}" if end.counted else "not counted as a failure"
    detail = f": {end.message}" if end.message else ""
    return Note(WARNING, end.reason, f"{step} ended with exit code {end.exit_code}, {counted}{detail}")


def _tell_actions(plan: Plan, failures: Sequence[Failure]) -> Iterable[Note]:
    failed = {id(failure.action) for failure in failures}
    broken = {failure.action.target for failure in failures}
    for action in plan:
        if isinstance(action, PullImage) and action.missing:
            yield Note(WARNING, "FailedToRetrieveImagePullSecret", _NO_LOGINS.format(", ".join(action.missing)))
        reason = _DONE.get(type(action))
        if reason is not None and id(action) not in failed and action.target not in broken:
            yield Note(NORMAL, reason, f"{action.target}: {action.reason}")


def _tell_outcome(draft: Draft) -> Iterable[Note]:
    if (verdict := draft.verdict) is not None:
        yield Note(WARNING if verdict.type == FAILED else NORMAL, verdict.reason, verdict.message)
    if (restart := draft.restart) is not None:
        yield Note(WARNING, restart.action, restart.message)
