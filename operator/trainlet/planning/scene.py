"""One look at a TrainJob: all that is stored of it and all that is seen of it, brought together slot by slot."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from trainlet.apis.jobset import JobSet
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON, derive_uid
from trainlet.planning.addresses import get_address
from trainlet.planning.containers import Site, get_image
from trainlet.planning.device_ledger import Request
from trainlet.planning.devices import Wish
from trainlet.planning.gang import Gang, Roll, call_roll, read_gang
from trainlet.planning.jobs import BatchJob, read_jobs
from trainlet.planning.jobset import build_jobset
from trainlet.planning.jobset_defaults import default_jobset
from trainlet.planning.lifecycle import advance
from trainlet.planning.observed import Observed, ObservedContainer, ObservedNetwork
from trainlet.planning.options import Options
from trainlet.planning.probes import NEW, Health, Kind, Probes, SizeCheck, find_probes
from trainlet.planning.pull_secrets import Login, find_pull_logins
from trainlet.planning.records import (
    ContainerRecord,
    PodRecord,
    build_record,
    read_containers,
    read_record,
    read_restart,
)
from trainlet.planning.resources import build_wishes
from trainlet.planning.slots import Member, Role, Slot, build_slots
from trainlet.planning.status import find_finish_time, has_exceeded_deadline, is_finished
from trainlet.planning.views import View
from trainlet.planning.volumes import find_size_limits

CONTROLLER = "trainer.kubeflow.org/trainjob-controller"


@dataclass(frozen=True)
class Case:
    """All that is stored of one TrainJob, as wire objects. `runtime` is the job's snapshot of it.

    `objects` are the ConfigMaps, Secrets and PersistentVolumeClaims that stand in the directory for its namespace.
    """

    job: JSON
    runtime: JSON
    pods: tuple[JSON, ...] = ()
    report: JSON | None = None
    jobset: JSON | None = None
    jobs: tuple[JSON, ...] = ()
    objects: tuple[JSON, ...] = ()


@dataclass(frozen=True)
class Probed:
    """A container whose probes are to be asked: `number` is its pod's place in the network.

    `known` is what is written down of the container of this restart and attempt.
    """

    probes: Probes
    number: int
    restart: int = 0
    attempt: int = 0
    known: Health = NEW


@dataclass(frozen=True)
class Needs:
    """What has to be looked at beside the engine's list: images, and the probes of containers, by pod and name.

    Each image comes with the logins that the job's own secrets have for it. `wishes` are the GPUs of the pods that are
    there and not over, by host name. `has_volumes`: some volume of the engine may be the job's.
    """

    images: Mapping[str, tuple[Login, ...]] = field(default_factory=dict)
    probed: Mapping[tuple[str, str], Probed] = field(default_factory=dict)
    wishes: Mapping[str, tuple[Wish, ...]] = field(default_factory=dict)
    has_volumes: bool = True


@dataclass(frozen=True)
class Scene:
    """One look at a job: what is stored and seen, slot by slot. `gang` is what is remembered of its JobSet."""

    case: Case
    job: TrainJob
    jobset_wire: JSON
    jobset: JobSet
    gang: Gang
    slots: tuple[Slot, ...]
    views: Mapping[str, View]
    network: ObservedNetwork | None
    strays: tuple[ObservedContainer, ...]
    observed: Observed
    now: datetime
    options: Options

    @property
    def is_deleted(self) -> bool:
        """Whether the job is to go."""
        return self.job.metadata.deletion_timestamp is not None

    @property
    def is_finished(self) -> bool:
        """Whether the job had ended before this pass."""
        return is_finished(self.job.status)

    @property
    def expires_at(self) -> datetime | None:
        """When the JobSet of the finished job goes, and all of it on the engine with it; None: it stays."""
        ended, ttl = find_finish_time(self.job.status), self.jobset.spec.ttl_seconds_after_finished
        if ended is None or (has_exceeded_deadline(self.job.status) and self.options.auto_remove):
            return ended
        return None if ttl is None else ended + timedelta(seconds=ttl)

    @property
    def is_expired(self) -> bool:
        """Whether the JobSet has gone already, or is to go now."""
        return self.expires_at is not None and self.expires_at <= self.now

    @property
    def records(self) -> dict[str, PodRecord]:
        """What is known of each slot, by its host name."""
        return {name: view.record for name, view in self.views.items()}

    @property
    def is_bare(self) -> bool:
        """Whether nothing of the job is on the engine."""
        seen = self.observed
        return not (seen.containers or seen.networks or seen.volumes)

    @cached_property
    def site(self) -> Site:
        """Where the job's containers go; there must be a network."""
        assert self.network is not None
        return self.build_site(self.network)

    def build_site(self, network: ObservedNetwork) -> Site:
        """Return where the job's containers go when this is its network."""
        devices = self.observed.devices
        return Site(self.job, self.slots, network, self.options, self.case.runtime, self.case.objects, devices)

    def call_roll(self, records: Mapping[str, PodRecord]) -> tuple[BatchJob, ...]:
        """Return the Jobs of the JobSet with these records of their slots."""
        restart = self.gang.restarts
        born = [view for view in self.views.values() if view.is_born and view.record.restart == restart]
        known = read_jobs(self.case.jobs, restart)
        begun = frozenset(view.slot.job_name for view in born)
        return call_roll(Roll(self.jobset, self.slots, records, known, restart, begun, self._find_held()), self.now)

    def is_old(self, view: View) -> bool:
        """Tell whether a slot's pod is of an earlier restart of the JobSet."""
        return view.is_born and view.record.restart < self.gang.restarts

    def _find_held(self) -> frozenset[str]:
        """Return the Jobs that may not be made yet: their own predecessors, or with BlockingRecreate any, are there."""
        slots = [view.slot for view in self.views.values() if self.is_old(view) and view.containers]
        policy = self.jobset.spec.failure_policy
        is_blocking = policy is not None and policy.restart_strategy == "BlockingRecreate"
        return frozenset(slot.job_name for slot in (self.slots if slots and is_blocking else slots))


def look(case: Case, observed: Observed, now: datetime, options: Options) -> Scene:
    """Bring what is stored and what is seen together, slot by slot."""
    job = TrainJob.of(case.job)
    jobset_wire = build_jobset(job, case.runtime, options.features)
    jobset, gang = build_view(job, jobset_wire), read_gang(case.jobset)
    slots = build_slots(job.key, jobset, options.sandbox_image)
    stored = {str(find(pod, "spec", "hostname")): pod for pod in case.pods}
    network = find_network(observed)
    views = {}
    for slot in slots:
        pod, containers = stored.get(slot.hostname), _match(slot, observed.containers)
        written = read_record(slot, pod) if pod is not None else None
        newest = max((container.restart for container in containers.values()), default=gang.restarts)
        record = advance(slot, written or build_record(slot, now, newest), containers, observed, now)
        address = get_address(network, slot.number) if network is not None else None
        views[slot.hostname] = View(slot, written, record, containers, address)
    kept = {container.id for view in views.values() for container in view.containers.values()}
    return Scene(
        case=case,
        job=job,
        jobset_wire=jobset_wire,
        jobset=jobset,
        gang=gang,
        slots=slots,
        views=views,
        network=network,
        strays=tuple(c for c in observed.containers if c.id not in kept),
        observed=observed,
        now=now,
        options=options,
    )


def is_ours(case: Case) -> bool:
    """Tell whether the job is this controller's; a deleted one is always ours to clear away."""
    job = TrainJob.of(case.job)
    return job.spec.managed_by == CONTROLLER or job.metadata.deletion_timestamp is not None


def survey(case: Case, options: Options) -> Needs:
    """Return what has to be looked at for an unfinished job. Raises ApiError when its JobSet cannot be built."""
    job = TrainJob.of(case.job)
    if is_finished(job.status) or job.metadata.deletion_timestamp is not None:
        return Needs()
    slots = build_slots(job.key, build_view(job, build_jobset(job, case.runtime)), options.sandbox_image)
    members = [(slot, member) for slot in slots for member in slot.members]
    return Needs(
        images=_find_images(case, members, options),
        probed={(slot.hostname, member.name): found for slot, member, found in _find_probed(case, members)},
        wishes={} if job.spec.suspend else _find_wishes(case, slots),
        has_volumes=any(member.container.volume_mounts for _, member in members),
    )


def find_network(observed: Observed) -> ObservedNetwork | None:
    """Return the job's network; should there be two, always the same."""
    return min(observed.networks, key=lambda network: network.id, default=None)


def _find_probed(case: Case, members: Iterable[tuple[Slot, Member]]) -> Iterator[tuple[Slot, Member, Probed]]:
    """Yield the containers that have probes; one that is to end is not asked any more.

    With the first that works in a pod it is asked what the pod's volumes take.
    """
    pods = {str(find(pod, "spec", "hostname")): pod for pod in case.pods}
    weighed: set[str] = set()
    for slot, member in members:
        probes, pod = dict(find_probes(member.container)), pods.get(slot.hostname, {})
        record = read_containers(pod).get(member.name, ContainerRecord())
        if member.role is Role.MAIN and record.termination is None and slot.hostname not in weighed:
            weighed.add(slot.hostname)
            if limits := find_size_limits(slot, str(find(pod, "metadata", "name"))):
                probes[Kind.USAGE] = SizeCheck(limits)
        if probes and record.stopping_since is None:
            restart, known = read_restart(pod), Health(record.started, record.ready)
            yield slot, member, Probed(probes, slot.number, restart, record.attempt, known)


def build_request(case: Case, needs: Needs) -> Request:
    """Return the GPUs that a job wants now."""
    metadata = TrainJob.of(case.job).metadata
    since = str(find(case.job, "metadata", "creationTimestamp"))
    return Request(TrainJob.of(case.job).key, metadata.uid, since, needs.wishes)


def _find_wishes(case: Case, slots: Iterable[Slot]) -> dict[str, tuple[Wish, ...]]:
    pods = {str(find(pod, "spec", "hostname")): pod for pod in case.pods}
    wishes: dict[str, tuple[Wish, ...]] = {}
    for slot in slots:
        record = read_record(slot, pods[slot.hostname]) if slot.hostname in pods else None
        wanted = build_wishes(slot.job_spec.template.spec)
        if wanted and record is not None and not (record.succeeded or record.given_up):
            wishes[slot.hostname] = wanted
    return wishes


def _find_images(case: Case, members: Iterable[tuple[Slot, Member]], options: Options) -> dict[str, tuple[Login, ...]]:
    """Return the logins for each image; pods of one job that share an image share them."""
    images: dict[str, tuple[Login, ...]] = {}
    for slot, member in members:
        image = get_image(slot, member, options)
        logins = find_pull_logins(slot.job_spec.template.spec, case.objects, image)
        images[image] = tuple(dict.fromkeys((*images.get(image, ()), *logins)))
    return images


def find_untold_ends(case: Case, observed: Observed) -> list[ObservedContainer]:
    """Return the containers whose end is not written down yet, and was not asked for."""
    told = {
        (str(find(pod, "spec", "hostname")), name, read_restart(pod), record.attempt)
        for pod in case.pods
        for name, record in read_containers(pod).items()
        if record.termination is not None or (record.stopping_since is not None and not record.unhealthy)
    }
    ended = [container for container in observed.containers if container.exit_code is not None]
    return [c for c in ended if (c.pod, c.container, c.restart, c.attempt) not in told]


def build_view(job: TrainJob, jobset: JSON) -> JobSet:
    """Return the JobSet as it is on a cluster: with its defaults and a uid."""
    return JobSet.of(put(default_jobset(jobset), ("metadata", "uid"), derive_uid(job.metadata.uid, "JobSet")))


def _match(slot: Slot, containers: Iterable[ObservedContainer]) -> dict[str, ObservedContainer]:
    """Return the containers of a slot's pod by name: of each the one of its latest attempt."""
    names = {member.name for member in slot.members}
    mine = ((c.container or slot.container.name, c) for c in containers if c.pod == slot.hostname)
    ordered = sorted(mine, key=lambda pair: (pair[1].restart, pair[1].attempt, pair[1].id))
    return {name: container for name, container in ordered if name in names}
