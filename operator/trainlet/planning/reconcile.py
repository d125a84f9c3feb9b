"""The heart: what is stored and what is seen of one TrainJob -> a Decision. Everything else carries it out.

Pure: the time is an argument, nothing is logged, the same input gives the same decision. A pass plans only
what can be done now, and a pass that acted is followed by another; so a step that must wait for an earlier
one (containers for their network) simply is not planned yet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trainlet.apis.jobset import JobSet
from trainlet.apis.trainer import TrainJob
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning.addresses import get_address
from trainlet.planning.containers import Site, build_network, get_workspace
from trainlet.planning.diff import SlotPlan, View, bring_down, keep_running
from trainlet.planning.failures import note_failure
from trainlet.planning.jobset import build_jobset
from trainlet.planning.lifecycle import BatchJob, JobState, advance, judge_jobs
from trainlet.planning.observed import Observed, ObservedContainer, ObservedNetwork
from trainlet.planning.options import Options
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    CreateNetwork,
    CreateWorkspace,
    Failure,
    Plan,
    RemoveContainer,
    RemoveNetwork,
)
from trainlet.planning.pods import build_pod
from trainlet.planning.records import PodRecord, read_record
from trainlet.planning.report import build_report
from trainlet.planning.slots import Slot, build_slots
from trainlet.planning.status import Verdict, build_status, is_finished, judge_deadline, judge_jobset

CONTROLLER = "trainer.kubeflow.org/trainjob-controller"


@dataclass(frozen=True)
class Case:
    """All that is stored of one TrainJob, as wire objects. `runtime` is the job's snapshot of it."""

    job: JSON
    runtime: JSON
    pods: tuple[JSON, ...] = ()
    report: JSON | None = None


@dataclass(frozen=True)
class Scene:
    """One look at a job: what is stored and seen, slot by slot."""

    case: Case
    job: TrainJob
    jobset_wire: JSON
    jobset: JobSet
    slots: tuple[Slot, ...]
    views: Mapping[str, View]
    started: frozenset[str]
    network: ObservedNetwork | None
    strays: tuple[ObservedContainer, ...]
    observed: Observed
    now: datetime
    options: Options

    def judge(self, records: Mapping[str, PodRecord]) -> tuple[BatchJob, ...]:
        """Return the Jobs of the JobSet with these records."""
        return judge_jobs(self.jobset, self.slots, records, self.started)

    def build_site(self, network: ObservedNetwork) -> Site:
        """Return where the job's containers go when this is its network."""
        subdomain = self.jobset.spec.network.subdomain or self.job.metadata.name
        return Site(self.job, subdomain, self.slots, network, self.options)


@dataclass(frozen=True)
class Decision:
    """What to do, what is now true, and when to look again (None: at the next event).

    `gone`: nothing of a deleted job is left, so it may be forgotten.
    """

    plan: Plan = ()
    status: JSON | None = None
    report: JSON | None = None
    jobset: JSON | None = None
    pods: tuple[JSON, ...] = ()
    due: datetime | None = None
    gone: bool = False


@dataclass(frozen=True)
class Draft:
    """A decision before its actions were tried; `conclude` makes it final."""

    scene: Scene
    verdict: Verdict | None
    slot_plans: Mapping[str, SlotPlan]
    plan: Plan
    due: datetime | None


def reconcile(case: Case, observed: Observed, now: datetime, options: Options) -> Draft:
    """Decide what to do about one TrainJob. Raises ApiError when its JobSet cannot be built."""
    scene = look(case, observed, now, options)
    records = {name: view.record for name, view in scene.views.items()}
    jobs = scene.judge(records)
    finished = is_finished(scene.job.status)
    verdict, deadline = (None, None) if finished else _judge(scene, jobs)
    if scene.job.metadata.deletion_timestamp is not None:
        slot_plans = _bring_down(scene, remove=True, keep_logs=False, reason="the job was deleted")
    elif finished or verdict is not None:
        slot_plans = _bring_down(scene, remove=options.auto_remove, keep_logs=True, reason="the job is finished")
    else:
        slot_plans = _drive(scene, jobs)
    plan = _build_plan(scene, jobs, slot_plans, finished=finished or verdict is not None)
    dues = [deadline, *(p.due for p in slot_plans.values())]
    return Draft(scene, verdict, slot_plans, plan, min((d for d in dues if d is not None), default=None))


def conclude(draft: Draft, failures: Sequence[Failure] = ()) -> Decision:
    """Return what is true after the plan was tried; nothing that failed is taken for done."""
    scene = draft.scene
    before = {name: view.record for name, view in scene.views.items()}
    records = {name: plan.record for name, plan in draft.slot_plans.items()}
    for failure in failures:
        records.update(note_failure(failure, scene.slots, records, before, scene.now))
    jobs = scene.judge({**before, **records})
    addresses = _find_addresses(scene)
    news = () if is_finished(scene.job.status) else jobs
    status = build_status(scene.job, news, draft.verdict, scene.now)
    conditions = find(scene.case.report, "status", "conditions") or []
    report = build_report(scene.job, status, _keep_born(jobs, records), addresses, conditions, scene.now)
    report = put(report, ("status", "workspace"), get_workspace(scene.job, scene.options))
    pods = [
        build_pod(scene.job, slot, records[slot.hostname], addresses.get(slot.hostname))
        for slot in scene.slots
        if slot.hostname in records
    ]
    return Decision(
        plan=draft.plan,
        status=status,
        report=report,
        jobset=scene.jobset_wire,
        pods=tuple(pods),
        due=draft.due,
        gone=_is_gone(scene),
    )


def find_images(case: Case) -> frozenset[str]:
    """Return the images that a job's unfinished nodes may need."""
    job = TrainJob.of(case.job)
    if is_finished(job.status) or job.metadata.deletion_timestamp is not None:
        return frozenset()
    jobset = JobSet.of(build_jobset(job, case.runtime))
    return frozenset(slot.container.image for slot in build_slots(job.key, jobset))


def build_teardown(observed: Observed, reason: str) -> Plan:
    """Plan the end of everything that was seen, for an owner that nobody knows any more."""
    if observed.containers:
        return tuple(RemoveContainer(name=c.name, id=c.id, reason=reason) for c in observed.containers)
    return tuple(RemoveNetwork(name=n.name, id=n.id, reason=reason) for n in observed.networks)


def look(case: Case, observed: Observed, now: datetime, options: Options) -> Scene:
    """Bring what is stored and what is seen together, slot by slot."""
    job = TrainJob.of(case.job)
    jobset_wire = build_jobset(job, case.runtime)
    jobset = JobSet.of(jobset_wire)
    slots = build_slots(job.key, jobset)
    written = {str(find(pod, "spec", "hostname")): read_record(pod) for pod in case.pods}
    containers = _match(slots, observed.containers)
    views = {}
    for slot in slots:
        record = written.get(slot.hostname)
        container = containers.get(slot.hostname)
        views[slot.hostname] = View(slot, record, advance(record or PodRecord(now), container, now), container)
    kept = {c.id for c in containers.values()}
    return Scene(
        case=case,
        job=job,
        jobset_wire=jobset_wire,
        jobset=jobset,
        slots=slots,
        views=views,
        started=frozenset(s.job_name for s in slots if s.hostname in written or s.hostname in containers),
        network=min(observed.networks, key=lambda n: n.id, default=None),
        strays=tuple(c for c in observed.containers if c.id not in kept),
        observed=observed,
        now=now,
        options=options,
    )


def _match(slots: Sequence[Slot], containers: Iterable[ObservedContainer]) -> dict[str, ObservedContainer]:
    """Return the container of each slot: the one of its latest attempt."""
    names = {slot.hostname for slot in slots}
    mine = sorted((c for c in containers if c.pod in names), key=lambda c: (c.attempt, c.id))
    return {c.pod: c for c in mine}


def _judge(scene: Scene, jobs: Sequence[BatchJob]) -> tuple[Verdict | None, datetime | None]:
    verdict = judge_jobset(jobs)
    if verdict is not None:
        return verdict, None
    return judge_deadline(scene.job, scene.now)


def _bring_down(scene: Scene, *, remove: bool, keep_logs: bool, reason: str) -> dict[str, SlotPlan]:
    born = {name: view for name, view in scene.views.items() if view.written or view.container}
    return {
        name: bring_down(view, scene.now, remove=remove, keep_logs=keep_logs, reason=reason)
        for name, view in born.items()
    }


def _drive(scene: Scene, jobs: Sequence[BatchJob]) -> dict[str, SlotPlan]:
    """Plan every slot of an unfinished JobSet by the state of its Job."""
    plans: dict[str, SlotPlan] = {}
    for job in jobs:
        for slot in job.slots:
            view = scene.views[slot.hostname]
            if job.state is JobState.ACTIVE:
                plans[slot.hostname] = _drive_slot(scene, view)
            elif job.state is JobState.SUSPENDED and (view.written or view.container):
                plans[slot.hostname] = _suspend_slot(scene, view)
            elif view.written or view.container:
                plans[slot.hostname] = SlotPlan(view.record)
    return plans


def _drive_slot(scene: Scene, view: View) -> SlotPlan:
    if scene.network is None:
        return SlotPlan(view.record)
    return keep_running(view, scene.build_site(scene.network), scene.observed, scene.now)


def _suspend_slot(scene: Scene, view: View) -> SlotPlan:
    if view.record.succeeded:
        return SlotPlan(view.record)
    return bring_down(view, scene.now, remove=True, keep_logs=True, reason="the job is suspended")


def _build_plan(scene: Scene, jobs: Sequence[BatchJob], slot_plans: Mapping[str, SlotPlan], *, finished: bool) -> Plan:
    """Put the slots' actions in order: what must be there first, the containers, and the network's end last."""
    actions = [action for plan in slot_plans.values() for action in plan.actions]
    strays = [
        RemoveContainer(name=c.name, id=c.id, reason="no node of the job is this container") for c in scene.strays
    ]
    first = _prepare(scene, jobs, actions) if not finished else ()
    return (*first, *_drop_repeats([*strays, *actions]), *_remove_networks(scene, finished))


def _prepare(scene: Scene, jobs: Sequence[BatchJob], actions: Sequence[Action]) -> Plan:
    """Plan what containers need before they are made."""
    if scene.job.metadata.deletion_timestamp is not None:
        return ()
    if scene.network is None and any(job.state is JobState.ACTIVE and job.slots for job in jobs):
        spec = build_network(scene.job, scene.slots, scene.options)
        return (CreateNetwork(spec=spec, reason=f"for {len(scene.slots)} nodes"),)
    if any(isinstance(action, CreateContainer) for action in actions):
        path = get_workspace(scene.job, scene.options)
        return (CreateWorkspace(path=path, owner_uid=scene.job.metadata.uid, reason="nodes mount it"),)
    return ()


def _remove_networks(scene: Scene, finished: bool) -> Plan:
    """Remove the networks of a job that needs none any more, once no container is left on them."""
    deleted = scene.job.metadata.deletion_timestamp is not None
    if scene.observed.containers or not (deleted or (finished and scene.options.auto_remove)):
        return ()
    reason = "the job was deleted" if deleted else "the job is finished"
    return tuple(RemoveNetwork(name=n.name, id=n.id, reason=reason) for n in scene.observed.networks)


def _drop_repeats(actions: Iterable[Action]) -> list[Action]:
    """Keep the first of equal actions: several nodes ask for one image."""
    kept: list[Action] = []
    for action in actions:
        if action not in kept:
            kept.append(action)
    return kept


def _keep_born(jobs: Sequence[BatchJob], records: Mapping[str, PodRecord]) -> list[BatchJob]:
    """Leave out the slots that have no pod yet."""
    kept = []
    for job in jobs:
        pairs = [(s, r) for s, r in zip(job.slots, job.records, strict=True) if s.hostname in records]
        kept.append(replace(job, slots=tuple(s for s, _ in pairs), records=tuple(r for _, r in pairs)))
    return kept


def _find_addresses(scene: Scene) -> dict[str, str]:
    if scene.network is None:
        return {}
    return {slot.hostname: get_address(scene.network, slot.number) for slot in scene.slots}


def _is_gone(scene: Scene) -> bool:
    deleted = scene.job.metadata.deletion_timestamp is not None
    return deleted and not scene.observed.containers and not scene.observed.networks
