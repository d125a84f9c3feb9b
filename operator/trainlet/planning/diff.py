"""One slot: what is wanted against what is there -> what to do about each of its containers, in their order."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from trainlet.planning.containers import Site
from trainlet.planning.lifecycle import get_restart_time, has_pod_failed
from trainlet.planning.observed import ContainerState, Observed
from trainlet.planning.plan import (
    Action,
    CreateContainer,
)
from trainlet.planning.pod_failures import is_index_failed
from trainlet.planning.records import EVICTED, PodRecord
from trainlet.planning.slots import Role
from trainlet.planning.specs import VolumeSpec
from trainlet.planning.steps import Step, create, drive, explain, remove, stop
from trainlet.planning.views import Part, View

#: In which order the containers of a pod are brought down: each group after those before it have ended.
_ENDING = ((Role.MAIN, Role.INIT), (Role.SIDECAR,), (Role.SANDBOX,))


@dataclass(frozen=True)
class SlotPlan:
    """What to do for a slot now, what to remember of it, and when to look again (None: at its next event).

    `volumes` have to be there before the actions are done.
    """

    record: PodRecord
    actions: tuple[Action, ...] = ()
    due: datetime | None = None
    volumes: tuple[VolumeSpec, ...] = ()

    def then(self, step: Step) -> "SlotPlan":
        """Add what is planned for one container."""
        dues = [due for due in (self.due, step.due) if due is not None]
        record = self.record.put(step.name, step.record)
        actions, volumes = (*self.actions, *step.actions), (*self.volumes, *step.volumes)
        return SlotPlan(record, actions, min(dues, default=None), volumes)


def keep_running(view: View, site: Site, observed: Observed, now: datetime) -> SlotPlan:
    """Plan a slot whose Job is active: run its pod, restart it or its containers, or leave it alone."""
    record = view.record
    if record.succeeded or is_index_failed(view.slot.job_spec, record):
        return end_pod(view, now)
    if has_pod_failed(view.slot, record) or _has_lost_sandbox(record):
        return _begin_anew(view, site, observed, now)
    plan = SlotPlan(record)
    for part in _find_due(view):
        plan = plan.then(drive(part, site, observed, now))
    return plan


def end_pod(view: View, now: datetime) -> SlotPlan:
    """Plan the end of what still runs in a pod that is over."""
    return _bring_down(view, now, "the pod is over", started_by_hand=True)


def suspend(view: View, now: datetime) -> SlotPlan:
    """Plan the end of a slot's pod for as long as its job is suspended; what it did not finish a later pod begins."""
    if view.record.succeeded:
        return end_pod(view, now)
    plan = bring_down(view, now, remove=True, keep_logs=True, reason="the job is suspended")
    if view.containers or len(view.slot.members) == 1 or not view.record.has_begun:
        return plan
    return SlotPlan(view.record.begin_anew(now))


def end_deleted(view: View, now: datetime) -> SlotPlan:
    """Plan the end of a pod that was deleted or evicted; when nothing of it is left, another is in its place."""
    ends = (container.termination for container in view.record.containers.values())
    is_evicted = any(end is not None and end.reason == EVICTED for end in ends)
    reason = "its pod was evicted" if is_evicted else "its pod was deleted"
    plan = bring_down(view, now, remove=True, keep_logs=True, reason=reason)
    if plan.actions or plan.due is not None or view.containers:
        return plan
    return SlotPlan(view.record.replace_deleted(now), due=now)


def bring_down(
    view: View, now: datetime, *, remove: bool, keep_logs: bool, reason: str, is_told: bool = False
) -> SlotPlan:
    """Plan a slot that must not run: ask, then kill, then (with `remove`) take it away, its log kept or not.

    `is_told`: it is written down already that all of the job is to go.
    """
    plan = _bring_down(view, now, reason, started_by_hand=True, is_told=is_told)
    if plan.actions or plan.due is not None or not remove:
        return plan
    return _remove_all(view, now, reason, keep_logs=keep_logs)


def _bring_down(view: View, now: datetime, reason: str, *, started_by_hand: bool, is_told: bool = False) -> SlotPlan:
    """Plan the end of what runs. What somebody started by hand to look into it is theirs to end."""
    plan = SlotPlan(view.record)
    for roles in _ENDING:
        for part in view.parts:
            is_up = part.container is not None and part.container.state is ContainerState.RUNNING
            if part.member.role in roles and is_up and not (started_by_hand and _was_started_by_hand(part)):
                plan = plan.then(stop(part, now, reason, is_told=is_told))
        if plan.actions or plan.due is not None:
            break
    return plan


def _remove_all(view: View, now: datetime, reason: str, *, keep_logs: bool) -> SlotPlan:
    parts = _find_removable(view)
    if keep_logs and any(part.record.termination is not None and not part.is_end_written for part in parts):
        return SlotPlan(view.record, due=now)
    return SlotPlan(view.record, tuple(a for part in parts for a in remove(part, reason, keep_logs=keep_logs)))


def _find_removable(view: View) -> list[Part]:
    """Return the containers that may go now: a sandbox only after all that joined it."""
    parts = [part for part in view.parts if part.container is not None]
    return [part for part in parts if part.member.role is not Role.SANDBOX] or parts


def _was_started_by_hand(part: Part) -> bool:
    """Whether somebody started an ended container to look into it."""
    end, container = part.record.termination, part.container
    started = container.started_at if container is not None else None
    return end is not None and started is not None and started > end.finished_at


def _has_lost_sandbox(record: PodRecord) -> bool:
    """Whether what the containers of a pod share has gone from under them."""
    return any(c.role is Role.SANDBOX and c.termination is not None for c in record.containers.values())


def _find_due(view: View) -> Iterator[Part]:
    """Yield the containers whose turn has come; once a main one has begun, it has passed for the init ones."""
    is_initialized = any(c.has_begun for c in view.record.mains)
    for part in view.parts:
        if part.member.role is Role.INIT and is_initialized:
            continue
        yield part
        if part.member.role is not Role.MAIN and not is_initialized and not part.lets_next_begin:
            return


def _begin_anew(view: View, site: Site, observed: Observed, now: datetime) -> SlotPlan:
    """Plan the end of a pod that cannot go on, and the beginning of another in its place."""
    plan = _bring_down(view, now, "its pod starts over", started_by_hand=False)
    if plan.actions or plan.due is not None:
        return plan
    if any(part.record.termination is not None and not part.is_end_written for part in view.parts):
        return SlotPlan(view.record, due=now)
    times = [get_restart_time(view.slot, part.record, site.options) for part in view.parts]
    due = max((time for time in times if time is not None), default=now)
    if has_pod_failed(view.slot, view.record) and now < due:
        return SlotPlan(view.record, due=due)
    first, *others = view.parts
    gone = tuple(a for part in others if part.container is not None for a in remove(part, explain(part.record)))
    if gone:
        return SlotPlan(view.record, gone)
    pod = view.record.begin_anew(now)
    step = create(first, pod, site, observed, now)
    return SlotPlan(pod if _creates(step) else view.record).then(step)


def _creates(step: Step) -> bool:
    return any(isinstance(action, CreateContainer) for action in step.actions)
