"""One container of a pod: what to do about it now. The only place that plans actions on containers."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trainlet.planning import labels
from trainlet.planning.containers import Site, build_container, get_image
from trainlet.planning.lifecycle import get_pod_deadline, get_restart_time, is_older
from trainlet.planning.objects import ConfigError
from trainlet.planning.observed import ContainerState, ImageState, Observed, ObservedImage
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    Hook,
    KeepLogs,
    KillContainer,
    PullImage,
    RemoveContainer,
    StartContainer,
    StopContainer,
)
from trainlet.planning.probes import resolve_ports
from trainlet.planning.pull_secrets import find_missing_pull_secrets
from trainlet.planning.records import CRASH_LOOP, NETWORK_LOST, ContainerRecord, PodRecord, Termination, Waiting
from trainlet.planning.resources import build_wishes
from trainlet.planning.slots import Role
from trainlet.planning.specs import VolumeSpec
from trainlet.planning.views import Part
from trainlet.planning.volumes import build_volumes

#: How soon to look again at what nobody tells of.
LOOK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Step:
    """What to do for one container now, what to remember of it, and when to look again."""

    name: str
    record: ContainerRecord
    actions: tuple[Action, ...] = ()
    due: datetime | None = None
    volumes: tuple[VolumeSpec, ...] = ()


def drive(part: Part, site: Site, observed: Observed, now: datetime) -> Step:
    """Plan a container whose turn has come: make it, start it, start it again, end it, or leave it alone."""
    record, container = part.record, part.container
    goes_on = part.member.role is Role.SIDECAR
    if not goes_on and (record.succeeded or (record.termination is not None and part.view.slot.makes_new_pods)):
        return Step(part.member.name, record)
    if record.termination is not None:
        return _restart(part, site, observed, now)
    if container is None or is_older(container, part.view.record, record):
        return create(part, part.view.record, site, observed, now)
    if container.state is ContainerState.CREATED:
        return _start(part, site, observed, now)
    if record.unhealthy:
        return stop(part, now, record.complaint)
    if record.stopping_since is not None:
        return stop(part, now, "it was asked to end before the job was resumed")
    if _is_off_network(part, site):
        return Step(part.member.name, _lose_network(record, now), due=now)
    return Step(part.member.name, record, due=get_pod_deadline(part.view.slot, part.member, record))


def _is_off_network(part: Part, site: Site) -> bool:
    """Whether the container that holds the pod's place in the job's network is not in it any more."""
    holds = part.member is part.view.slot.members[0] or not part.view.slot.has_sandbox
    return holds and part.container is not None and site.network.name not in part.container.networks


def _restart(part: Part, site: Site, observed: Observed, now: datetime) -> Step:
    record = part.record
    if not part.is_end_written:
        return Step(part.member.name, record, due=now)
    due = get_restart_time(part.view.slot, record, site.options)
    if due is not None and now < due:
        message = f"back-off {(due - now).total_seconds():.0f}s restarting container {part.member.name}"
        waiting = record.waiting if record.waiting and record.waiting.reason == CRASH_LOOP else None
        return Step(part.member.name, replace(record, waiting=waiting or Waiting(CRASH_LOOP, message)), due=due)
    pod = part.view.record.put(part.member.name, record.begin(record.attempt + 1))
    return create(part, pod, site, observed, now)


def create(part: Part, pod: PodRecord, site: Site, observed: Observed, now: datetime) -> Step:
    """Plan a container as this record of its pod has it; the part's own record is of the one before it."""
    gate = _wait_for_devices(part, observed, now) or _wait_for_image(part, site, observed, now)
    if gate is not None:
        return gate
    try:
        spec = build_container(site, part.view.slot, part.member, pod)
        volumes = build_volumes(site.build_pod(part.view.slot, pod, part.member), part.member)
    except ConfigError as error:
        return _wait(part, error.reason, str(error), now + timedelta(seconds=LOOK_AGAIN_SECONDS))
    reason = explain(part.record)
    old = remove(part, reason) if part.container is not None else ()
    create = CreateContainer(spec=spec, reason=reason)
    start = StartContainer(name=spec.name, id=spec.name, reason=reason, hook=_find_hook(part, "post_start"))
    record = replace(
        pod.containers[part.member.name],
        waiting=None,
        stopping_since=None,
        asked=False,
        image_id=_get_image_id(part, site, observed),
    )
    return Step(part.member.name, record, (*old, create, start), volumes=volumes)


def _start(part: Part, site: Site, observed: Observed, now: datetime) -> Step:
    container, pod = part.container, part.view.record
    assert container is not None
    try:
        spec = build_container(site, part.view.slot, part.member, pod)
    except ConfigError:
        return create(part, pod, site, observed, now)
    if container.labels.get(labels.SPEC_HASH) != spec.labels[labels.SPEC_HASH]:
        return create(part, pod, site, observed, now)
    reason = f"{part.member.step} was created and not started"
    start = StartContainer(name=container.name, id=container.id, reason=reason, hook=_find_hook(part, "post_start"))
    # Who made it may not have lived to put its files: to make it again does, and costs one refused call.
    again = (CreateContainer(spec=spec, reason=reason),) if spec.files or spec.volumes else ()
    return Step(part.member.name, part.record, (*again, start))


def _wait_for_devices(part: Part, observed: Observed, now: datetime) -> Step | None:
    """Return what to do instead of creating the container, or None when its pod has all GPUs that it asks for."""
    slot = part.view.slot
    wait = observed.devices.find_wait(slot.hostname, build_wishes(slot.job_spec.template.spec))
    if wait is None:
        return None
    # A pod is written down first; what it asks for is seen by the next pass. Who waits in the queue is woken.
    return _wait(part, *wait, None if observed.devices.shortage else now)


def _wait_for_image(part: Part, site: Site, observed: Observed, now: datetime) -> Step | None:
    """Return what to do instead of creating the container, or None when its image is here.

    Kubelet's pull policies; an image that cannot be had makes the slot wait, never fail.
    """
    name, record = get_image(part.view.slot, part.member, site.options), part.record
    policy = part.member.container.image_pull_policy or site.options.pull_policy
    image = observed.images.get(name, ObservedImage(ImageState.ABSENT))
    wanted_since = record.termination.finished_at if record.termination else part.view.record.created_at
    fresh = image.pulled_at is not None and image.pulled_at >= wanted_since
    is_sandbox = part.member.role is Role.SANDBOX
    if image.state is ImageState.PRESENT and (policy != "Always" or fresh or is_sandbox):
        return None
    if policy == "Never" and not is_sandbox:
        message = f'image "{name}" is not on this engine and the pull policy is Never: load it or pull it'
        return _wait(part, "ErrImageNeverPull", message, now + timedelta(seconds=LOOK_AGAIN_SECONDS))
    if image.state is ImageState.PULLING:
        return _wait(part, "ContainerCreating", image.message, None)
    if image.retry_at is not None and now < image.retry_at:
        return _wait(part, "ImagePullBackOff", image.message, image.retry_at)
    missing = find_missing_pull_secrets(part.view.slot.job_spec.template.spec, site.stored)
    why = f"{part.member.step} needs it, pull policy {policy}"
    pull = PullImage(image=name, logins=image.logins, missing=missing, reason=why)
    reason = "ErrImagePull" if image.retry_at is not None else "ContainerCreating"
    return replace(_wait(part, reason, image.message or f'pulling image "{name}"', None), actions=(pull,))


def _get_image_id(part: Part, site: Site, observed: Observed) -> str:
    image = observed.images.get(get_image(part.view.slot, part.member, site.options))
    return image.facts.reference if image is not None and image.facts is not None else ""


def _wait(part: Part, reason: str, message: str, due: datetime | None) -> Step:
    return Step(part.member.name, replace(part.record, waiting=Waiting(reason, message)), due=due)


def stop(part: Part, now: datetime, reason: str, *, is_told: bool = False) -> Step:
    """Plan the end of a running container, one step a pass.

    That it is to end is written down before it is asked to, if that is not told of the whole job: else an end that the
    operator did not live to see would be taken for the node's own, as a failure or, worse, as its success.
    """
    record, container, name = part.record, part.container, part.member.name
    assert container is not None
    grace = timedelta(seconds=_get_grace_seconds(part))
    if record.stopping_since is None and not is_told:
        return Step(name, replace(record, stopping_since=now), due=now)
    if record.stopping_since is None or not record.asked:
        hook, seconds = _find_hook(part, "pre_stop"), grace.total_seconds()
        stop = StopContainer(name=container.name, id=container.id, reason=reason, hook=hook, grace_seconds=seconds)
        return Step(name, replace(record, stopping_since=now, asked=True), (stop,), now + grace)
    if now < record.stopping_since + grace:
        return Step(name, record, due=record.stopping_since + grace)
    kill = KillContainer(name=container.name, id=container.id, reason=f"{reason}, and its grace period is over")
    return Step(name, record, (kill,), now + timedelta(seconds=LOOK_AGAIN_SECONDS))


def _get_grace_seconds(part: Part) -> int:
    """Return how long a container has to end; a probe that has failed for good may say so itself."""
    container, pod = part.member.container, part.view.slot.job_spec.template.spec
    probes = (container.liveness_probe, container.startup_probe) if part.record.unhealthy else ()
    own = (probe.termination_grace_period_seconds for probe in probes if probe is not None)
    return next((seconds for seconds in own if seconds is not None), pod.termination_grace_period_seconds)


def _find_hook(part: Part, name: str) -> Hook | None:
    """Return the `post_start` or `pre_stop` of a container."""
    handler = getattr(part.member.container.lifecycle, name)
    return Hook(resolve_ports(handler, part.member.container), part.view.address) if handler is not None else None


def remove(part: Part, reason: str, *, keep_logs: bool = True) -> tuple[Action, ...]:
    """Plan that a container goes, its log kept or not."""
    container = part.container
    assert container is not None
    remove = RemoveContainer(name=container.name, id=container.id, reason=reason)
    if not keep_logs or container.state is ContainerState.CREATED or part.member.role is Role.SANDBOX:
        return (remove,)
    return (KeepLogs(name=container.name, id=container.id, step=part.member.step, reason="before it goes"), remove)


def _lose_network(record: ContainerRecord, now: datetime) -> ContainerRecord:
    message = "The job's network was removed while the node ran"
    return record.terminate(Termination(137, NETWORK_LOST, message, record.started_at, now, counted=False))


def explain(record: ContainerRecord) -> str:
    """Say why a container is begun, by how it ended last."""
    end = record.termination
    if end is None:
        return "the job wants it running"
    return f"restart {record.attempt + 1} after {end.reason} (exit code {end.exit_code})"
