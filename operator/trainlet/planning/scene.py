"""One look at a TrainJob: all that is stored of it and all that is seen of it, brought together slot by slot."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from trainlet.apis.jobset import JobSet
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON, derive_uid
from trainlet.planning.containers import Site, get_image
from trainlet.planning.diff import View
from trainlet.planning.gang import Gang, Roll, call_roll, read_gang
from trainlet.planning.jobs import BatchJob, read_jobs
from trainlet.planning.jobset import build_jobset
from trainlet.planning.jobset_defaults import default_jobset
from trainlet.planning.lifecycle import advance
from trainlet.planning.observed import Observed, ObservedContainer, ObservedNetwork
from trainlet.planning.options import Options
from trainlet.planning.readiness import find_probed_port
from trainlet.planning.records import PodRecord, read_record
from trainlet.planning.slots import Slot, build_slots
from trainlet.planning.status import find_finish_time, has_exceeded_deadline, is_finished

CONTROLLER = "trainer.kubeflow.org/trainjob-controller"


@dataclass(frozen=True)
class Case:
    """All that is stored of one TrainJob, as wire objects. `runtime` is the job's snapshot of it."""

    job: JSON
    runtime: JSON
    pods: tuple[JSON, ...] = ()
    report: JSON | None = None
    jobset: JSON | None = None
    jobs: tuple[JSON, ...] = ()


@dataclass(frozen=True)
class Needs:
    """What has to be looked at beside the engine's list: images, and the ports of these pods (host names)."""

    images: frozenset[str] = frozenset()
    probed: frozenset[str] = frozenset()


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
        return Site(self.job, self.slots, network, self.options, self.case.runtime)

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
        slots = [view.slot for view in self.views.values() if self.is_old(view) and view.container is not None]
        policy = self.jobset.spec.failure_policy
        is_blocking = policy is not None and policy.restart_strategy == "BlockingRecreate"
        return frozenset(slot.job_name for slot in (self.slots if slots and is_blocking else slots))


def look(case: Case, observed: Observed, now: datetime, options: Options) -> Scene:
    """Bring what is stored and what is seen together, slot by slot."""
    job = TrainJob.of(case.job)
    jobset_wire = build_jobset(job, case.runtime, options.features)
    jobset, gang = build_view(job, jobset_wire), read_gang(case.jobset)
    slots = build_slots(job.key, jobset)
    written = {str(find(pod, "spec", "hostname")): read_record(pod) for pod in case.pods}
    containers = _match(slots, observed.containers)
    views = {}
    for slot in slots:
        record, container = written.get(slot.hostname), containers.get(slot.hostname)
        fresh = PodRecord(now, restart=container.restart if container else gang.restarts)
        views[slot.hostname] = View(slot, record, advance(slot, record or fresh, container, observed, now), container)
    kept = {c.id for c in containers.values()}
    return Scene(
        case=case,
        job=job,
        jobset_wire=jobset_wire,
        jobset=jobset,
        gang=gang,
        slots=slots,
        views=views,
        network=min(observed.networks, key=lambda n: n.id, default=None),
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
    slots = build_slots(job.key, build_view(job, build_jobset(job, case.runtime)))
    return Needs(
        images=frozenset(get_image(slot, options) for slot in slots),
        probed=frozenset(slot.hostname for slot in slots if find_probed_port(slot.container) is not None),
    )


def find_untold_ends(case: Case, observed: Observed) -> list[ObservedContainer]:
    """Return the containers whose end is not written down yet."""
    told = {
        (str(find(pod, "spec", "hostname")), record.restart, record.attempt)
        for pod in case.pods
        if (record := read_record(pod)).termination is not None
    }
    return [c for c in observed.containers if c.exit_code is not None and (c.pod, c.restart, c.attempt) not in told]


def build_view(job: TrainJob, jobset: JSON) -> JobSet:
    """Return the JobSet as it is on a cluster: with its defaults and a uid."""
    return JobSet.of(put(default_jobset(jobset), ("metadata", "uid"), derive_uid(job.metadata.uid, "JobSet")))


def _match(slots: Sequence[Slot], containers: Iterable[ObservedContainer]) -> dict[str, ObservedContainer]:
    """Return the container of each slot: the one of its latest attempt."""
    names = {slot.hostname for slot in slots}
    mine = sorted((c for c in containers if c.pod in names), key=lambda c: (c.restart, c.attempt, c.id))
    return {c.pod: c for c in mine}
