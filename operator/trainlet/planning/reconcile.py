"""The heart: what is stored and what is seen of one TrainJob -> a Decision. Everything else carries it out.

Pure: the time is an argument, nothing is logged, the same input gives the same decision. A pass plans only
what can be done now, and a pass that acted is followed by another; so a step that must wait for an earlier
one (containers for their network) simply is not planned yet.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.addresses import get_address
from trainlet.planning.containers import build_network, get_workspace
from trainlet.planning.diff import SlotPlan, bring_down, end_deleted, keep_running, suspend
from trainlet.planning.failures import note_failure
from trainlet.planning.gang import Restart, Verdict, end_conditions, judge_gang, update_conditions
from trainlet.planning.job_ends import get_deadline
from trainlet.planning.jobs import BatchJob, JobState, build_job
from trainlet.planning.lifecycle import is_older
from trainlet.planning.observed import Observed, ObservedContainer
from trainlet.planning.options import Options
from trainlet.planning.plan import (
    Action,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    CreateWorkspace,
    Failure,
    Plan,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
)
from trainlet.planning.pods import build_pod, get_pod_name
from trainlet.planning.records import PodRecord
from trainlet.planning.report import build_report
from trainlet.planning.scene import Case, Scene, look
from trainlet.planning.status import build_status, count_jobs, judge_deadline
from trainlet.planning.views import View

_STARTS_OVER = "all nodes start over"


@dataclass(frozen=True)
class Decision:
    """What to do, what is now true, and when to look again (None: at the next event).

    `jobset` None: its time is over, and so is that of its Jobs and pods. `gone`: nothing of a deleted job is left,
    so it may be forgotten.
    """

    plan: Plan = ()
    status: JSON | None = None
    report: JSON | None = None
    jobset: JSON | None = None
    jobs: tuple[JSON, ...] = ()
    pods: tuple[JSON, ...] = ()
    due: datetime | None = None
    gone: bool = False


@dataclass(frozen=True)
class Draft:
    """A decision before its actions were tried; `conclude` makes it final.

    `verdict` and `restart` say that the job ended, or that all its nodes start over, in this pass.
    """

    scene: Scene
    verdict: Verdict | None
    restart: Restart | None
    slot_plans: Mapping[str, SlotPlan]
    plan: Plan
    due: datetime | None


def reconcile(case: Case, observed: Observed, now: datetime, options: Options) -> Draft:
    """Decide what to do about one TrainJob. Raises ApiError when its JobSet cannot be built."""
    scene = _catch_up(look(case, observed, now, options))
    if scene.is_deleted:
        plans = _bring_down(scene, remove=True, keep_logs=False, reason="the job was deleted", is_told=True)
        return _build_draft(scene, plans)
    if scene.is_finished:
        return _build_draft(scene, _end(scene), dues=[None if scene.is_expired else scene.expires_at])
    jobs = scene.call_roll(scene.records)
    outcome = judge_gang(scene.jobset, jobs, scene.gang, options.find_match)
    deadline = None
    if outcome is None:
        outcome, deadline = judge_deadline(scene.job, now)
    if isinstance(outcome, Verdict):
        return _build_draft(scene, _end(scene), verdict=outcome, dues=[now])
    if outcome is not None:
        return _start_over(replace(scene, gang=scene.gang.restart(outcome, now)), outcome)
    dues = [deadline, *map(get_deadline, jobs)]
    return _build_draft(scene, _drive(scene, jobs), jobs=jobs, dues=dues)


def _catch_up(scene: Scene) -> Scene:
    """Take the JobSet to have started over as often as its pods say: its own document may be lost."""
    restarts = max((scene.gang.restarts, *(record.restart for record in scene.records.values())))
    return replace(scene, gang=replace(scene.gang, restarts=restarts))


def _start_over(scene: Scene, restart: Restart) -> Draft:
    """Only bring down what is there: that all starts over is written down before anything of it begins.

    So the pods that failed are remembered where it was not written, and containers tell which restart there was.
    """
    plans = _bring_down(scene, remove=True, keep_logs=True, reason=_STARTS_OVER)
    return _build_draft(scene, plans, jobs=scene.call_roll(scene.records), restart=restart, dues=[scene.now])


def conclude(draft: Draft, failures: Sequence[Failure] = ()) -> Decision:
    """Return what is true after the plan was tried; nothing that failed is taken for done."""
    scene = draft.scene
    records = {name: plan.record for name, plan in draft.slot_plans.items()}
    for failure in failures:
        records.update(note_failure(failure, scene.slots, records, scene.records, scene.now))
    jobs = scene.call_roll({**scene.records, **records})
    status = build_status(scene.job, () if scene.is_finished else jobs, draft.verdict, scene.now)
    is_over = scene.is_expired and scene.is_bare
    return Decision(
        plan=draft.plan,
        status=status,
        report=_build_report(draft, records, status),
        jobset=None if is_over else _build_jobset(draft, jobs),
        jobs=() if is_over else tuple(map(build_job, _find_left(draft, jobs))),
        pods=() if is_over else tuple(_build_pods(scene, records)),
        due=draft.due,
        gone=scene.is_deleted and scene.is_bare,
    )


def _find_left(draft: Draft, jobs: Sequence[BatchJob]) -> Iterator[BatchJob]:
    """Yield the Jobs that are there after the pass; JobSet deletes those that have not ended when it ends itself."""
    is_over = draft.scene.is_finished or draft.verdict is not None
    return (job for job in jobs if job.record is not None and (job.is_finished or not is_over))


def build_teardown(observed: Observed, reason: str) -> Plan:
    """Plan the end of everything that was seen, for an owner that nobody knows any more."""
    if observed.containers:
        return _remove_containers(observed.containers, reason)
    return _remove_rest(observed, reason)


def _remove_containers(containers: Sequence[ObservedContainer], reason: str) -> Plan:
    """Plan the end of containers; those that others have joined go in a later pass."""
    first = [container for container in containers if not container.is_sandbox] or containers
    return tuple(RemoveContainer(name=c.name, id=c.id, reason=reason) for c in first)


def _build_draft(
    scene: Scene,
    slot_plans: Mapping[str, SlotPlan],
    *,
    jobs: Sequence[BatchJob] = (),
    verdict: Verdict | None = None,
    restart: Restart | None = None,
    dues: Iterable[datetime | None] = (),
) -> Draft:
    all_dues = [*dues, *(plan.due for plan in slot_plans.values()), _find_drop(scene, slot_plans)]
    due = min((due for due in all_dues if due is not None), default=None)
    return Draft(scene, verdict, restart, slot_plans, _build_plan(scene, jobs, slot_plans), due)


def _find_drop(scene: Scene, slot_plans: Mapping[str, SlotPlan]) -> datetime | None:
    """Return that another pass is due at once when a pod is forgotten in this one: another may take its place."""
    return scene.now if any(view.written and name not in slot_plans for name, view in scene.views.items()) else None


def _end(scene: Scene) -> dict[str, SlotPlan]:
    remove = scene.options.auto_remove or scene.is_expired
    return _bring_down(scene, remove=remove, keep_logs=True, reason="the job is finished")


def _bring_down(
    scene: Scene, *, remove: bool, keep_logs: bool, reason: str, is_told: bool = False
) -> dict[str, SlotPlan]:
    return {
        name: bring_down(view, scene.now, remove=remove, keep_logs=keep_logs, reason=reason, is_told=is_told)
        for name, view in scene.views.items()
        if view.is_born
    }


def _drive(scene: Scene, jobs: Sequence[BatchJob]) -> dict[str, SlotPlan]:
    """Plan every slot of an unfinished JobSet by the state of its Job."""
    plans = {
        slot.hostname: _drive_slot(scene, job, scene.views[slot.hostname], record)
        for job in jobs
        for slot, record in zip(job.slots, job.pods, strict=True)
    }
    return {name: plan for name, plan in plans.items() if plan is not None}


def _drive_slot(scene: Scene, job: BatchJob, view: View, record: PodRecord) -> SlotPlan | None:
    """Plan a slot; None: there is no pod, or none any more. `record` is of its pod in this restart of the JobSet."""
    now = scene.now
    if scene.is_old(view):
        if not view.containers:
            return None
        return bring_down(view, now, remove=True, keep_logs=True, reason=_STARTS_OVER)
    if record.deleted_at is not None and not record.succeeded:
        return end_deleted(replace(view, record=record), now)
    if job.state is JobState.ACTIVE:
        view = replace(view, record=record)
        return SlotPlan(record) if scene.network is None else keep_running(view, scene.site, scene.observed, now)
    if not view.is_born:
        return None
    if job.is_finished:
        return bring_down(view, now, remove=False, keep_logs=True, reason="its Job is finished")
    return suspend(view, now) if job.state is JobState.SUSPENDED else SlotPlan(view.record)


def _build_plan(scene: Scene, jobs: Sequence[BatchJob], slot_plans: Mapping[str, SlotPlan]) -> Plan:
    """Put the slots' actions in order: what must be there first, the containers, and the end of the rest last."""
    plans = list(slot_plans.values())
    actions = [action for plan in plans for action in plan.actions]
    strays = _remove_containers(scene.strays, "no node of the job is this container")
    rest = (*_clear_pods(scene, jobs, slot_plans), *_clear(scene, jobs))
    return (*_prepare(scene, jobs, plans), *_drop_repeats([*strays, *actions]), *_drop_repeats(rest))


def _prepare(scene: Scene, jobs: Sequence[BatchJob], plans: Sequence[SlotPlan]) -> Plan:
    """Plan what containers need before they are made."""
    if scene.network is None and any(job.state is JobState.ACTIVE and job.slots for job in jobs):
        spec = build_network(scene.job, scene.slots, scene.options)
        return (CreateNetwork(spec=spec, reason=f"for {len(scene.slots)} nodes"),)
    if not any(isinstance(action, CreateContainer) for plan in plans for action in plan.actions):
        return ()
    there = {volume.name for volume in scene.observed.volumes}
    volumes = {spec.name: spec for plan in plans for spec in plan.volumes if spec.name not in there}
    path, uid = get_workspace(scene.job, scene.options), scene.job.metadata.uid
    return (
        CreateWorkspace(path=path, owner_uid=uid, reason="nodes mount it"),
        *(CreateVolume(spec=spec, reason="nodes mount it") for spec in volumes.values()),
    )


def _clear_pods(scene: Scene, jobs: Sequence[BatchJob], slot_plans: Mapping[str, SlotPlan]) -> Iterator[Action]:
    """Plan the end of volumes whose pod is gone, and all containers that mounted them with it."""
    active = {slot.hostname for job in jobs if job.state is JobState.ACTIVE for slot in job.slots}
    for volume in scene.observed.volumes:
        view = scene.views.get(volume.labels.get(labels.POD, ""))
        plan = slot_plans.get(view.slot.hostname) if view is not None else None
        if view is None or _has_leftovers(view, plan):
            continue
        if plan is not None and view.slot.hostname in active:
            pod = get_pod_name(view.slot, plan.record)
            if volume.name.startswith(labels.pod_volume_name(scene.job.key, pod, "")):
                continue
        elif plan is not None and view.containers:
            continue
        yield RemoveVolume(name=volume.name, reason="its pod is gone")


def _has_leftovers(view: View, plan: SlotPlan | None) -> bool:
    """Tell whether a container of an earlier pod stays after this pass."""
    gone = {action.id for action in plan.actions if isinstance(action, RemoveContainer)} if plan is not None else set()
    pod = plan.record if plan is not None else view.record
    stays = ((name, each) for name, each in view.containers.items() if each.id not in gone)
    return any(plan is None or is_older(container, pod, pod.containers[name]) for name, container in stays)


def _clear(scene: Scene, jobs: Sequence[BatchJob]) -> Plan:
    """Plan the end of what a job needs no more, once no container is left on it: `jobs` are those still to run."""
    if jobs or scene.observed.containers:
        return ()
    if scene.is_deleted or scene.is_expired:
        reason = "the job was deleted" if scene.is_deleted else "the job's time after its end is over"
        return _remove_rest(scene.observed, reason)
    return _remove_networks(scene.observed, "the job is finished") if scene.options.auto_remove else ()


def _remove_rest(observed: Observed, reason: str) -> Plan:
    volumes = tuple(RemoveVolume(name=volume.name, reason=reason) for volume in observed.volumes)
    return (*_remove_networks(observed, reason), *volumes)


def _remove_networks(observed: Observed, reason: str) -> Plan:
    return tuple(RemoveNetwork(name=n.name, id=n.id, reason=reason) for n in observed.networks)


def _drop_repeats(actions: Iterable[Action]) -> list[Action]:
    """Keep the first of equal actions: several nodes ask for one image."""
    kept: list[Action] = []
    for action in actions:
        if action not in kept:
            kept.append(action)
    return kept


def _build_jobset(draft: Draft, jobs: Sequence[BatchJob]) -> JSON:
    """Return the JobSet as it is stored: what upstream applies, with its uid and status."""
    scene = draft.scene
    gang = scene.gang
    if draft.verdict is not None:
        gang = end_conditions(gang, draft.verdict, scene.now)
    elif not scene.is_finished:
        gang = update_conditions(scene.jobset, jobs, gang, scene.now)
    status = {
        "restarts": gang.restarts,
        "restartsCountTowardsMax": gang.counted,
        "conditions": list(gang.conditions),
        "replicatedJobsStatus": count_jobs(jobs, ended=scene.is_finished or draft.verdict is not None),
    }
    return {**put(scene.jobset_wire, ("metadata", "uid"), scene.jobset.metadata.uid), "status": status}


def _build_report(draft: Draft, records: Mapping[str, PodRecord], status: JSON) -> JSON:
    scene = draft.scene
    if scene.is_expired and not records and scene.case.report is not None:
        return scene.case.report  # the pods that it tells of are gone with the JobSet
    before = find(scene.case.report, "status") or {}
    nodes = [(slot, records[slot.hostname]) for slot in scene.slots if slot.hostname in records]
    addresses = _find_addresses(scene)
    report = build_report(
        scene.job,
        status,
        nodes,
        addresses,
        scene.gang.restarts,
        before,
        scene.now,
        scene.observed.images,
        scene.observed.devices.shortage,
    )
    return put(report, ("status", "workspace"), get_workspace(scene.job, scene.options))


def _build_pods(scene: Scene, records: Mapping[str, PodRecord]) -> Iterable[JSON]:
    addresses = _find_addresses(scene)
    for slot in scene.slots:
        if slot.hostname in records:
            yield build_pod(scene.job, slot, records[slot.hostname], addresses.get(slot.hostname))


def _find_addresses(scene: Scene) -> dict[str, str]:
    if scene.network is None:
        return {}
    return {slot.hostname: get_address(scene.network, slot.number) for slot in scene.slots}
