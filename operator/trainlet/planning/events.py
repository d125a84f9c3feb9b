"""What is worth telling of a pass: transitions of nodes, actions, failures and verdicts, as events."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey, format_time
from trainlet.planning.jobs import FAILED
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    Failure,
    KillContainer,
    Plan,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    StartContainer,
    StopContainer,
)
from trainlet.planning.reconcile import Draft
from trainlet.planning.records import PodRecord

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
        *_tell_ends(draft),
        *_tell_actions(draft.plan, failures),
        *(Note(WARNING, f"{type(f.action).__name__}Failed", f"{f.action.target}: {f.message}") for f in failures),
        *_tell_outcome(draft),
    ]


def _tell_ends(draft: Draft) -> Iterable[Note]:
    for name, plan in draft.slot_plans.items():
        view = draft.scene.views[name]
        if view.record.termination is not None and not view.is_end_written:
            yield _describe_end(view.slot.step, view.record, view.slot.job_spec.backoff_limit)
        waiting = plan.record.waiting
        if waiting is not None and waiting.reason.startswith("Err") and plan.record != view.written:
            yield Note(WARNING, waiting.reason, f"{view.slot.step}: {waiting.message}")


def _describe_end(step: str, record: PodRecord, limit: int) -> Note:
    end = record.termination
    assert end is not None
    if end.succeeded:
        return Note(NORMAL, "Completed", f"{step} ended with exit code 0")
    counted = f"failure {record.failures} of {limit}" if end.counted else "not counted as a failure"
    detail = f": {end.message}" if end.message else ""
    return Note(WARNING, end.reason, f"{step} ended with exit code {end.exit_code}, {counted}{detail}")


def _tell_actions(plan: Plan, failures: Sequence[Failure]) -> Iterable[Note]:
    failed = {id(failure.action) for failure in failures}
    broken = {failure.action.target for failure in failures}
    for action in plan:
        reason = _DONE.get(type(action))
        if reason is not None and id(action) not in failed and action.target not in broken:
            yield Note(NORMAL, reason, f"{action.target}: {action.reason}")


def _tell_outcome(draft: Draft) -> Iterable[Note]:
    if (verdict := draft.verdict) is not None:
        yield Note(WARNING if verdict.type == FAILED else NORMAL, verdict.reason, verdict.message)
    if (restart := draft.restart) is not None:
        yield Note(WARNING, restart.action, restart.message)
