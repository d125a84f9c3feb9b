"""One slot: what is wanted against what is there -> actions. The only place that plans container actions."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trainlet.planning import labels
from trainlet.planning.containers import Site, build_container, get_image
from trainlet.planning.lifecycle import get_restart_time, is_older
from trainlet.planning.observed import ContainerState, ImageState, Observed, ObservedContainer, ObservedImage
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    KeepLogs,
    KillContainer,
    PullImage,
    RemoveContainer,
    StartContainer,
    StopContainer,
)
from trainlet.planning.pod_failures import is_index_failed
from trainlet.planning.readiness import get_next_look
from trainlet.planning.records import NETWORK_LOST, PodRecord, Termination, Waiting
from trainlet.planning.slots import Slot


@dataclass(frozen=True)
class SlotPlan:
    """What to do for a slot now, what to remember of it, and when to look again (None: at its next event)."""

    record: PodRecord
    actions: tuple[Action, ...] = ()
    due: datetime | None = None


@dataclass(frozen=True)
class View:
    """A slot before the decision: `written` is its record as stored, `record` as it is now seen to be."""

    slot: Slot
    written: PodRecord | None
    record: PodRecord
    container: ObservedContainer | None

    @property
    def is_born(self) -> bool:
        """Whether there is or was a pod: it is written down, or it has a container."""
        return self.written is not None or self.container is not None

    @property
    def is_end_written(self) -> bool:
        """Whether the end of this attempt is already on disk, so that its container may go."""
        return (
            self.written is not None
            and self.written.termination is not None
            and (self.written.restart, self.written.attempt) == (self.record.restart, self.record.attempt)
        )


def keep_running(view: View, site: Site, observed: Observed, now: datetime) -> SlotPlan:
    """Plan a slot whose Job is active: run it, restart it, or leave it alone."""
    record, container = view.record, view.container
    if record.succeeded or is_index_failed(view.slot.job_spec, record):
        return SlotPlan(record)
    if record.termination is not None:
        return _restart(view, site, observed, now)
    if container is None or is_older(container, record):
        return _create(view, record, site, observed, now)
    if container.state is ContainerState.CREATED:
        return _start(view, site, observed, now)
    if record.stopping_since is not None:
        return _stop(view, container, now, "it was asked to end before the job was resumed")
    if site.network.name not in container.networks:
        return SlotPlan(_lose_network(record, now), due=now)
    return SlotPlan(record, due=get_next_look(view.slot, record, now))


def bring_down(view: View, now: datetime, *, remove: bool, keep_logs: bool, reason: str) -> SlotPlan:
    """Plan a slot that must not run: ask, then kill, then (with `remove`) take it away, its log kept or not."""
    record, container = view.record, view.container
    if container is None:
        return SlotPlan(record)
    if container.state is ContainerState.RUNNING and not _was_started_by_hand(record, container):
        return _stop(view, container, now, reason)
    if not remove:
        return SlotPlan(record)
    if not keep_logs:
        return SlotPlan(record, (_build_remove(container, reason),))
    if record.termination is not None and not view.is_end_written:
        return SlotPlan(record, due=now)
    return SlotPlan(record, _remove(view.slot.step, container, reason))


def _was_started_by_hand(record: PodRecord, container: ObservedContainer) -> bool:
    """Whether somebody started an ended container to look into it; that is theirs to end."""
    end = record.termination
    return end is not None and container.started_at is not None and container.started_at > end.finished_at


def _restart(view: View, site: Site, observed: Observed, now: datetime) -> SlotPlan:
    if not view.is_end_written:
        return SlotPlan(view.record, due=now)
    due = get_restart_time(view.slot, view.record, site.options)
    if due is not None and now < due:
        return SlotPlan(view.record, due=due)
    return _create(view, view.record.begin(view.record.attempt + 1, now), site, observed, now)


def _create(view: View, record: PodRecord, site: Site, observed: Observed, now: datetime) -> SlotPlan:
    gate = _wait_for_image(view, site, observed, now)
    if gate is not None:
        return gate
    spec = build_container(site, view.slot, record).with_hash()
    reason = _explain_start(view.record)
    old = _remove(view.slot.step, view.container, reason) if view.container is not None else ()
    create = CreateContainer(spec=spec, reason=reason)
    start = StartContainer(name=spec.name, id=spec.name, reason=reason)
    return SlotPlan(replace(record, waiting=None, stopping_since=None, asked=False), (*old, create, start))


def _start(view: View, site: Site, observed: Observed, now: datetime) -> SlotPlan:
    container = view.container
    assert container is not None
    spec = build_container(site, view.slot, view.record).with_hash()
    if container.labels.get(labels.SPEC_HASH) != spec.labels[labels.SPEC_HASH]:
        return _create(view, view.record, site, observed, now)
    reason = f"{view.slot.step} was created and not started"
    start = StartContainer(name=container.name, id=container.id, reason=reason)
    # Who made it may not have lived to put its files: to make it again does, and costs one refused call.
    create = (CreateContainer(spec=spec, reason=reason),) if spec.files or spec.volumes else ()
    return SlotPlan(view.record, (*create, start))


def _wait_for_image(view: View, site: Site, observed: Observed, now: datetime) -> SlotPlan | None:
    """Return what to do instead of creating the container, or None when its image is here.

    Kubelet's pull policies; an image that cannot be had makes the slot wait, never fail.
    """
    name, record = get_image(view.slot, site.options), view.record
    policy = view.slot.container.image_pull_policy or site.options.pull_policy
    image = observed.images.get(name, ObservedImage(ImageState.ABSENT))
    wanted_since = record.termination.finished_at if record.termination else record.created_at
    fresh = image.pulled_at is not None and image.pulled_at >= wanted_since
    if image.state is ImageState.PRESENT and (policy != "Always" or fresh):
        return None
    if policy == "Never":
        message = f'image "{name}" is not on this engine and the pull policy is Never: load it or pull it'
        return _wait(record, "ErrImageNeverPull", message, now + timedelta(seconds=5))
    if image.state is ImageState.PULLING:
        return _wait(record, "ContainerCreating", image.message, None)
    if image.retry_at is not None and now < image.retry_at:
        return _wait(record, "ImagePullBackOff", image.message, image.retry_at)
    pull = PullImage(image=name, reason=f"{view.slot.step} needs it, pull policy {policy}")
    reason = "ErrImagePull" if image.retry_at is not None else "ContainerCreating"
    return replace(_wait(record, reason, image.message or f'pulling image "{name}"', None), actions=(pull,))


def _wait(record: PodRecord, reason: str, message: str, due: datetime | None) -> SlotPlan:
    return SlotPlan(replace(record, waiting=Waiting(reason, message)), due=due)


def _stop(view: View, container: ObservedContainer, now: datetime, reason: str) -> SlotPlan:
    """Plan the end of a running container, one step a pass.

    That it is to end is written down before it is asked to: else an end that the operator did not live to
    see would be taken for the node's own, as a failure or, worse, as its success.
    """
    record = view.record
    grace = timedelta(seconds=view.slot.job_spec.template.spec.termination_grace_period_seconds)
    if record.stopping_since is None:
        return SlotPlan(replace(record, stopping_since=now), due=now)
    if not record.asked:
        stop = StopContainer(name=container.name, id=container.id, reason=reason)
        return SlotPlan(replace(record, stopping_since=now, asked=True), (stop,), now + grace)
    if now < record.stopping_since + grace:
        return SlotPlan(record, due=record.stopping_since + grace)
    kill = KillContainer(name=container.name, id=container.id, reason=f"{reason}, and its grace period is over")
    return SlotPlan(record, (kill,), now + timedelta(seconds=5))


def _remove(step: str, container: ObservedContainer, reason: str) -> tuple[Action, ...]:
    remove = _build_remove(container, reason)
    if container.state is ContainerState.CREATED:
        return (remove,)
    return (KeepLogs(name=container.name, id=container.id, step=step, reason="before it goes"), remove)


def _build_remove(container: ObservedContainer, reason: str) -> RemoveContainer:
    return RemoveContainer(name=container.name, id=container.id, reason=reason)


def _lose_network(record: PodRecord, now: datetime) -> PodRecord:
    message = "The job's network was removed while the node ran"
    return record.terminate(Termination(137, NETWORK_LOST, message, record.started_at, now, counted=False))


def _explain_start(record: PodRecord) -> str:
    end = record.termination
    if end is None:
        return "the job wants it running"
    return f"restart {record.attempt + 1} after {end.reason} (exit code {end.exit_code})"
