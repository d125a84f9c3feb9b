"""Jobs of every shape, in any situation, and what may happen to them: what properties of planning are asked of.

A situation is drawn without asking how it came about: an operator that was away for a day finds any of them.
A life is a situation and what happens after it, with a pass after every happening.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from hypothesis import strategies as st

from builders import NOW, build_job, build_replicated_job, build_runtime
from trainlet.kube.conditions import is_true
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.jobs import COMPLETE, FAILED, BatchJob, JobEnd, JobRecord
from trainlet.planning.jobs import build_job as build_batch_job
from trainlet.planning.observed import ContainerState, ImageState, ObservedContainer, ObservedImage, ObservedVolume
from trainlet.planning.options import Options
from trainlet.planning.plan import Action
from trainlet.planning.pods import build_pod
from trainlet.planning.probes import Health
from trainlet.planning.reconcile import conclude
from trainlet.planning.records import ContainerRecord, PodRecord, Termination, build_record, read_record
from trainlet.planning.slots import Member, Role, Slot
from trainlet.planning.specs import ContainerSpec
from trainlet.planning.status import is_finished
from trainlet.planning.volumes import build_volumes
from worlds import IMAGE, PRESENT, SANDBOX_IMAGE, World, build_network, build_running

LONG = os.environ.get("TRAINLET_LONG") == "1"
CONDITIONS = {
    "Complete": {"type": "Complete", "status": "True", "reason": "AllJobsCompleted"},
    "Failed": {"type": "Failed", "status": "True", "reason": "FailedJobs"},
    "Suspended": {"type": "Suspended", "status": "True", "reason": "Suspended"},
}
PORT = 80
PARTS = ("pods", "jobset", "job")
CODES = st.sampled_from([0, 0, 1, 42, 137, 143])
MOMENTS = st.integers(-700, 0).map(lambda seconds: NOW + timedelta(seconds=seconds))
COUNTS = st.integers(0, 3)
NODES = st.sampled_from([1, 2, 2, 3, 0])
RARELY = st.integers(0, 4).map(lambda number: number == 4)
OFTEN = RARELY.map(lambda is_rare: not is_rare)

# What a runtime may say

EXIT_42 = {"onExitCodes": {"operator": "In", "values": [42]}}
KILLED = {"onExitCodes": {"operator": "In", "values": [137]}}
DISRUPTED = {"onPodConditions": [{"type": "DisruptionTarget"}]}
POD_RULES = st.fixed_dictionaries({"action": st.sampled_from(["FailJob", "Ignore", "Count"])}).flatmap(
    lambda rule: st.sampled_from([{**rule, **EXIT_42}, {**rule, **DISRUPTED}])
)
INDEX_RULES = POD_RULES | st.sampled_from([{"action": "FailIndex", **rule} for rule in (EXIT_42, KILLED)])
DEADLINES = st.fixed_dictionaries({"activeDeadlineSeconds": st.integers(20, 100)})
#: The init containers of a pod in their order, and the main ones beside the first.
Company = tuple[tuple[str, ...], tuple[str, ...]]
COMPANIES: list[Company] = [
    (("init",), ()),
    (("sidecar",), ()),
    (("first-init", "sidecar", "init"), ()),
    ((), ("helper",)),
    (("init", "sidecar"), ("helper",)),
]
#: Most pods are of one container.
MOST: list[Company] = [*[((), ())] * 5, *COMPANIES]
#: What probes may say of a container; one that is not alive has begun before.
HEALTHS = st.one_of(
    st.builds(Health, st.booleans(), st.just(False)),
    st.just(Health(started=True, ready=True)),
    st.just(Health(started=True, alive=False, message="Liveness probe failed")),
)
PROBES = st.fixed_dictionaries({"tcpSocket": st.just({"port": PORT}), "initialDelaySeconds": st.sampled_from([0, 5])})


@st.composite
def draw_job_specs(draw: Any) -> JSON:
    """Return the rules of a Job, its pods left out: with in-place restarts or without, limits and policies."""
    if draw(st.booleans()):
        return {"backoffLimit": draw(COUNTS), **draw(st.just({}) | DEADLINES)}
    limits = st.fixed_dictionaries(
        {"backoffLimit": st.integers(0, 2)}, optional={"podFailurePolicy": _rules(POD_RULES)}
    )
    each = st.fixed_dictionaries(
        {"backoffLimitPerIndex": st.integers(0, 1)},
        optional={"maxFailedIndexes": st.integers(0, 1), "podFailurePolicy": _rules(INDEX_RULES)},
    )
    success = st.sampled_from([{}, {}, {"successPolicy": {"rules": [{"succeededCount": 1}]}}])
    return {**draw(limits | each), **draw(success), **draw(st.just({}) | DEADLINES), "restartPolicy": "Never"}


def _rules(rules: st.SearchStrategy[JSON]) -> st.SearchStrategy[JSON]:
    return st.lists(rules, min_size=1, max_size=2).map(lambda drawn: {"rules": drawn})


@st.composite
def draw_pods(draw: Any, container: JSON, companies: list[Company]) -> JSON:
    """Return the containers and volumes of a pod: one container alone, or with others before it and beside it."""
    inits, others = draw(st.sampled_from(companies))
    containers = [container, *({"name": name, "image": IMAGE} for name in others)]
    first = [{"name": name, "image": IMAGE} for name in inits]
    for sidecar in (each for each in first if each["name"] == "sidecar"):
        sidecar["restartPolicy"] = "Always"
    volumes = draw(st.sampled_from([{}, {}, {"scratch": {}}, {"memory": {"medium": "Memory"}}]))
    for each in (*first, *containers):
        names = [*volumes] if draw(OFTEN) else []
        each["volumeMounts"] = [{"name": name, "mountPath": f"/{name}"} for name in names]
    if draw(st.booleans()):
        container["volumeMounts"].append({"name": "data", "mountPath": "/data"})
    pod: JSON = {"initContainers": first} if first else {}
    if volumes:
        pod["volumes"] = [{"name": name, "emptyDir": source} for name, source in volumes.items()]
    return {**pod, "containers": containers}


@st.composite
def draw_replicated_jobs(draw: Any, name: str, before: list[str], companies: list[Company]) -> JSON:
    """Return a replicated job; `before` names those that it may depend on."""
    container: JSON = {"name": name, "image": IMAGE}
    if draw(RARELY):
        container["readinessProbe"] = draw(PROBES)
    pod, spec = draw(draw_pods(container, companies)), draw(draw_job_specs())
    pod |= {"restartPolicy": spec.pop("restartPolicy", "OnFailure"), "terminationGracePeriodSeconds": 20}
    containers, ancestor = pod.pop("containers"), "trainer" if name == "node" else None
    rjob = build_replicated_job(name, *containers, ancestor=ancestor, **pod)
    rjob = put(rjob, ("template", "spec"), {**rjob["template"]["spec"], **spec})
    if name != "node":
        rjob["replicas"] = draw(st.sampled_from([1, 1, 2]))
        rjob["template"]["spec"]["parallelism"] = draw(st.sampled_from([0, 1, 1, 1])) if rjob["replicas"] == 1 else 1
    if before and draw(st.booleans()):
        rjob["dependsOn"] = [
            {"name": draw(st.sampled_from(before)), "status": draw(st.sampled_from(["Ready", "Complete"]))}
        ]
    return rjob


NAMES = [["node"], ["node"], ["first", "node"], ["node", "last"], ["first", "second", "node"]]


@st.composite
def draw_runtimes(draw: Any, choices: list[list[str]] = NAMES, companies: list[Company] = MOST) -> JSON:
    """Return a runtime of one to three replicated jobs, of which one is the trainer's."""
    names = draw(st.sampled_from(choices))
    rjobs: list[JSON] = []
    for name in names:
        rjobs.append(draw(draw_replicated_jobs(name, [rjob["name"] for rjob in rjobs], companies)))
    spec: JSON = {"replicatedJobs": rjobs, **draw(draw_policies(names))}
    mounts = [find(rjob, "template", "spec", "template", "spec", "containers", 0, "volumeMounts") for rjob in rjobs]
    if any(mount["name"] == "data" for each in mounts for mount in each):
        when = {"whenDeleted": draw(st.sampled_from(["Delete", "Retain"]))}
        spec["volumeClaimPolicies"] = [{"templates": [{"metadata": {"name": "data"}}], "retentionPolicy": when}]
    return put(build_runtime(), ("spec", "template", "spec"), spec)


@st.composite
def draw_policies(draw: Any, names: list[str]) -> JSON:
    """Return the policies of a JobSet with these replicated jobs."""
    targets = st.lists(st.sampled_from(names), max_size=1)
    rule = st.fixed_dictionaries(
        {
            "action": st.sampled_from(["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]),
            "targetReplicatedJobs": targets,
            "onJobFailureReasons": st.sampled_from([[], ["BackoffLimitExceeded"], ["PodFailurePolicy"]]),
        }
    )
    strategies = st.sampled_from(["Recreate", "BlockingRecreate"])
    failure = st.fixed_dictionaries(
        {"maxRestarts": st.sampled_from([2, 2, 1, 0]), "restartStrategy": strategies},
        optional={"rules": st.lists(rule, min_size=1, max_size=2)},
    )
    success = {"operator": st.sampled_from(["All", "Any"]), "targetReplicatedJobs": targets}
    policies = {"failurePolicy": draw(failure)} if draw(OFTEN) else {}
    rare: dict[str, st.SearchStrategy[Any]] = {
        "successPolicy": st.fixed_dictionaries(success),
        "startupPolicy": st.just({"startupPolicyOrder": "InOrder"}),
        "ttlSecondsAfterFinished": st.sampled_from([0, 60]),
    }
    return {**policies, **{key: draw(value) for key, value in rare.items() if draw(RARELY)}}


# What may be stored and seen of a job

TERMINATIONS = st.builds(
    Termination, CODES, st.just("Error"), st.just(""), st.none() | MOMENTS, MOMENTS, counted=st.booleans()
)
IMAGES = st.builds(
    ObservedImage,
    st.sampled_from([ImageState.PRESENT, *ImageState]),
    pulled_at=st.none() | MOMENTS,
    retry_at=st.none() | MOMENTS,
)
OPTIONS = st.builds(
    Options,
    auto_remove=st.booleans(),
    pull_policy=st.sampled_from(["IfNotPresent", "IfNotPresent", "Always", "Never"]),
    sandbox_image=st.sampled_from(["", SANDBOX_IMAGE, SANDBOX_IMAGE]),
)


@st.composite
def draw_jobs(draw: Any) -> World:
    """Return a job of zero to three nodes and any runtime, in any state of its own."""
    spec = {"trainer": {"numNodes": draw(NODES)}, "suspend": draw(RARELY)}
    if draw(RARELY):
        spec["activeDeadlineSeconds"] = draw(st.integers(20, 100))
    job = build_job(**spec)
    job["metadata"]["creationTimestamp"] = "2026-01-02T03:03:35Z"
    if draw(RARELY):
        condition = CONDITIONS[draw(st.sampled_from(list(CONDITIONS)))]
        times = {"message": "", "lastTransitionTime": "2026-01-02T03:04:00Z"}
        job["status"] = {"conditions": [{**condition, **times}]}
    if draw(RARELY):
        job["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    return World(job, draw(draw_runtimes()), draw(OPTIONS))


@st.composite
def draw_gangs(draw: Any, world: World) -> World:
    """Return the world with a JobSet that started over up to twice, and with some of its Jobs."""
    restarts = draw(st.sampled_from([0, 0, 0, 1, 2]))
    counted = draw(st.integers(0, min(restarts, get_max_restarts(world))))
    status = {"restarts": restarts, "restartsCountTowardsMax": counted, "conditions": []}
    scene = world.look()
    jobs = []
    for rjob in scene.jobset.spec.replicated_jobs:
        for index in range(rjob.replicas):
            if draw(st.booleans()):
                record = draw(draw_job_records(restarts))
                jobs.append(build_batch_job(BatchJob(scene.jobset, rjob, index, (), (), record)))
    return replace(world, jobset={**scene.jobset_wire, "status": status}, jobs=tuple(jobs))


@st.composite
def draw_job_records(draw: Any, restarts: int) -> JobRecord:
    """Return what may be remembered of a Job."""
    created_at, started_at = draw(MOMENTS), draw(st.none() | MOMENTS)
    reasons = {COMPLETE: "CompletionsReached", FAILED: "BackoffLimitExceeded"}
    type = draw(st.sampled_from([None, None, None, *reasons]))
    end = JobEnd(type, reasons[type], "", draw(MOMENTS)) if type else None
    return JobRecord(created_at, draw(st.integers(max(0, restarts - 1), restarts)), started_at, end)


@st.composite
def draw_container_records(draw: Any, role: Role) -> ContainerRecord:
    """Return what may be remembered of a container."""
    attempt, end, started_at = draw(COUNTS), draw(st.none() | TERMINATIONS), draw(st.none() | MOMENTS)
    is_up = started_at is not None and end is None
    stopping_since = draw(st.none() | MOMENTS) if is_up else None
    return ContainerRecord(
        role,
        attempt=attempt,
        started_at=started_at,
        started=is_up and draw(OFTEN),
        ready=is_up and draw(st.booleans()),
        stopping_since=stopping_since,
        asked=stopping_since is not None and draw(st.booleans()),
        termination=end,
        previous=draw(TERMINATIONS) if attempt and draw(st.booleans()) else None,
    )


@st.composite
def draw_records(draw: Any, slot: Slot, restarts: int) -> PodRecord:
    """Return what may be remembered of a slot."""
    containers = {member.name: draw(draw_container_records(member.role)) for member in slot.members}
    if slot.makes_new_pods:
        attempt = containers[slot.container.name].attempt
        containers = {name: replace(record, attempt=attempt) for name, record in containers.items()}
    elif slot.has_sandbox:
        containers[labels.SANDBOX] = replace(containers[labels.SANDBOX], attempt=0)
    failed = sum(record.has_failed for record in containers.values())
    highest = failed + sum(record.attempt for record in containers.values())
    return PodRecord(
        created_at=draw(MOMENTS),
        restart=draw(st.integers(max(0, restarts - 1), restarts)),
        failures=draw(st.integers(failed, highest)),
        given_up=failed > 0 and draw(RARELY),
        containers=containers,
    )


@st.composite
def draw_pod_numbers(draw: Any, slot: Slot, restart: int) -> PodRecord:
    """Return a pod of which containers may be seen: where it is replaced as a whole, all are of one attempt.

    Where they are started again one by one, none is of a pod that an operator did not live to write down.
    """
    fresh, attempt = build_record(slot, NOW, restart), draw(COUNTS)
    attempts = {m.name: attempt if slot.makes_new_pods else draw(COUNTS) for m in slot.members}
    if not slot.makes_new_pods:
        attempts[labels.SANDBOX] = 0
    containers = {name: replace(each, attempt=attempts[name]) for name, each in fresh.containers.items()}
    return replace(fresh, containers=containers)


@st.composite
def draw_containers(draw: Any, world: World, member: Member, slot: Slot, record: PodRecord) -> tuple[World, str]:
    """Return the world with a container of a pod in any state, the volumes that it mounts, and the container's id."""
    spec = world.spec(slot.step, record, member.name)
    state = draw(st.sampled_from(ContainerState))
    is_exited, was_started = state is ContainerState.EXITED, state is not ContainerState.CREATED
    drift = {labels.SPEC_HASH: "another"} if draw(RARELY) else {}
    container = ObservedContainer(
        id=f"id-{spec.name}",
        name=spec.name,
        labels={**spec.labels, **drift},
        state=state,
        exit_code=draw(CODES) if is_exited else None,
        started_at=draw(MOMENTS) if was_started else None,
        finished_at=draw(MOMENTS) if is_exited else None,
        networks=frozenset(() if draw(RARELY) else {spec.network} - {""}),
        disrupted=is_exited and draw(RARELY),
    )
    return keep_volumes(world.see(container), container, spec, slot, member, record), container.id


def keep_volumes(
    world: World, container: ObservedContainer, spec: ContainerSpec, slot: Slot, member: Member, record: PodRecord
) -> World:
    """Return the world with the volumes of a container, which no engine removes while it is there."""
    scene = world.look()
    site = scene.build_site(scene.network or build_network())
    specs = build_volumes(site.build_pod(slot, record, member), member)
    kept = {each.name for each in specs if labels.OWNER_UID not in each.labels}
    own = {each.name: ObservedVolume(each.name, each.labels) for each in specs if each.name not in kept}
    volumes = {**own, **{volume.name: volume for volume in world.observed.volumes}}
    world = replace(world, observed=replace(world.observed, volumes=tuple(volumes.values())))
    made_of = {**world.made_of, container.id: spec}
    return replace(world, kept_volumes=world.kept_volumes | kept, made_of=made_of)


@st.composite
def draw_worlds(draw: Any) -> World:
    """Return any situation: every slot with or without a record, with or without containers."""
    world = draw(draw_jobs())
    world = draw(draw_gangs(world)) if draw(st.booleans()) else world
    restarts = get_restarts(world)
    pods, health = [], {}
    networks = (build_network(),) if draw(st.booleans()) else ()
    images = {IMAGE: draw(IMAGES), SANDBOX_IMAGE: PRESENT}
    for slot in world.look().slots:
        # A pod is written down when its container is there, and is made when those of earlier restarts are gone.
        newest = draw(st.integers(max(0, restarts - 1), restarts))
        if draw(st.booleans()):
            record = draw(draw_records(slot, restarts))
            newest = max(newest, record.restart)
            pods.append(build_pod(world.look().job, slot, record, None))
        pod = draw(draw_pod_numbers(slot, newest))
        drawn = len(world.observed.containers)
        for member in sorted(slot.members, key=lambda member: member.role is Role.SIDECAR):
            # By itself a sidecar does not tell of which pod it is.
            is_known = member.role is not Role.SIDECAR or len(world.observed.containers) > drawn
            if is_known and draw(st.booleans()):
                world, id = draw(draw_containers(world, member, slot, pod))
                if draw(OFTEN):
                    health[id] = draw(HEALTHS)
    if draw(RARELY):
        known = {labels.POD: "mnist-node-0-99"}
        world = world.see(ObservedContainer("id-stray", "mnist-stray", known, ContainerState.RUNNING))
    observed = replace(world.observed, networks=networks, health=health, images=images)
    return replace(world, pods=tuple(pods), observed=observed)


# What happens


@dataclass(frozen=True)
class Happening:
    """Something that happens to a job from outside of its operator, and how many passes come after it."""

    what: str
    node: int = 0
    number: int = 0
    passes: int = 1

    def happen(self, world: World) -> World:
        """Return the world after it; what cannot happen does not."""
        there = find_places(world) if self.what == "lose" else find_running(world)
        killed = [place for place in find_places(world) if world.container(place).exit_code == 137]
        match self.what:
            case "exit" if there:
                return world.exit(there[self.node % len(there)], self.number)
            case "lose" if there:
                return world.lose(there[self.node % len(there)])
            case "listen" if there:
                return feel(world, there[self.node % len(there)], Health(started=True, ready=bool(self.number)))
            case "learn of a disruption" if killed:
                return world.change(killed[self.node % len(killed)], disrupted=True)
            case "end what was asked to":
                return end_asked(world)
            case "initialize":
                return initialize(world)
            case "lose network":
                return world.lose_network()
            case "suspend":
                return world.edit(suspend=bool(self.number))
            case "delete":
                return world.delete()
            case "image":
                return world.image("present", pulled_at=world.now)
            case "wait":
                return world.after(self.number)
            case "crash":
                parts = [part for place, part in enumerate(PARTS) if self.number >> place & 1]
                return crash(world, parts, None if parts else self.node)
        return world


PLACES = st.integers(0, 5)
PASSES = st.sampled_from([1, 1, 4])
HAPPENINGS = st.one_of(
    st.builds(Happening, st.just("exit"), PLACES, CODES, PASSES),
    st.builds(Happening, st.just("exit"), PLACES, st.just(1), PASSES),
    st.builds(Happening, st.just("exit"), PLACES, st.just(1), PASSES),
    st.builds(Happening, st.sampled_from(["lose", "learn of a disruption"]), PLACES, passes=PASSES),
    st.builds(Happening, st.just("listen"), PLACES, st.integers(0, 1), PASSES),
    st.builds(Happening, st.just("wait"), number=st.sampled_from([1, 2, 5, 30, 700]), passes=PASSES),
    st.builds(Happening, st.just("suspend"), number=st.integers(0, 1), passes=PASSES),
    st.builds(Happening, st.just("end what was asked to"), passes=st.just(4)),
    st.builds(Happening, st.just("end what was asked to"), passes=st.just(4)),
    st.builds(Happening, st.just("initialize"), passes=st.just(4)),
    st.builds(Happening, st.just("crash"), PLACES, st.integers(0, 7), PASSES),
    st.builds(Happening, st.sampled_from(["lose network", "image", "pass", "pass", "delete"])),
)


@st.composite
def draw_healthy(draw: Any, runtimes: st.SearchStrategy[JSON]) -> World:
    """Return a job as most are: of any shape, with all that may begin begun."""
    spec = {"trainer": {"numNodes": draw(NODES)}, "suspend": False}
    options = Options(auto_remove=draw(st.booleans()), sandbox_image=draw(st.sampled_from(["", *[SANDBOX_IMAGE] * 3])))
    world = World(build_job(**spec), draw(runtimes), options).settle(40)
    return initialize(world) if draw(st.booleans()) else world


SIMPLE = st.builds(
    lambda nodes, limit: build_running(nodes, suspend=False, runtime={"job": {"backoffLimit": limit}}), COUNTS, COUNTS
)
WORLDS = draw_worlds()
HEALTHY = draw_healthy(draw_runtimes())
#: Jobs whose pods have several containers, from their beginning.
CROWDED = draw_healthy(draw_runtimes([["node"], ["first", "node"]], COMPANIES))


@dataclass(frozen=True)
class Life:
    """A situation and what happens after it; looked at often and lived once."""

    world: World
    happenings: list[Happening]

    @cached_property
    def passes(self) -> list[tuple[World, World]]:
        """The world before and after each pass."""
        passes, world = [], self.world
        for happening in [Happening("pass"), *self.happenings]:
            world = happening.happen(world)
            for _ in range(happening.passes):
                after = world.step()
                passes.append((world, after))
                world = after
        return passes

    @property
    def last(self) -> World:
        """The world after the last pass."""
        return self.passes[-1][1]

    @cached_property
    def rest(self) -> World:
        """The world at rest at the time of the last pass."""
        return self.last.settle(40)

    @cached_property
    def end(self) -> World:
        """The world at rest after all that was asked to end has ended."""
        return end_all(self.rest)


def live(life: Life) -> list[tuple[World, World]]:
    """Return the world before and after each pass of a life."""
    return life.passes


#: Most lives begin as lives do: with all nodes running.
LIVES = st.builds(Life, WORLDS | HEALTHY | HEALTHY | SIMPLE, st.lists(HAPPENINGS, min_size=2, max_size=16))
CROWDED_LIVES = st.builds(Life, CROWDED, st.lists(HAPPENINGS, min_size=2, max_size=16))


def follow(world: World) -> Iterator[tuple[World, Action]]:
    """Yield each action of the next plan with the world that it finds."""
    for action in world.draft().plan:
        yield world, action
        world = world.perform(action)


def crash(world: World, written: Iterable[str], actions: int | None = None) -> World:
    """Return the world after a pass that ended after so many actions, None for all, with these parts written."""
    draft = world.draft()
    after = world
    for action in draft.plan[:actions]:
        after = after.perform(action)
    stored, fields = (
        after.store(conclude(draft)),
        {"pods": ["pods"], "jobset": ["jobset", "jobs"], "job": ["job", "report"]},
    )
    return replace(after, **{name: getattr(stored, name) for part in written for name in fields[part]})


def forget(world: World, parts: Iterable[str]) -> World:
    """Return the world after somebody removed these documents; without its own a job is as it was admitted."""
    lost: dict[str, dict[str, Any]] = {
        "pods": {"pods": ()},
        "jobset": {"jobset": None, "jobs": ()},
        "job": {"job": {key: value for key, value in world.job.items() if key != "status"}, "report": None},
    }
    return replace(world, **{field: value for part in parts for field, value in lost[part].items()})


def feel(world: World, step: str, health: Health) -> World:
    """Return the world in which the probes of a step's container say this of it."""
    known = {**world.observed.health, world.container(step).id: health}
    return replace(world, observed=replace(world.observed, health=known))


def end_asked(world: World) -> World:
    """Return the world in which what was asked to end has ended."""
    records = read_records(world)
    for place in find_running(world):
        container = world.container(place)
        record = records.get(container.pod)
        if record is not None and record.containers[container.container].asked:
            world = world.exit(place, 143)
    return world


def end_all(world: World) -> World:
    """Return the world at rest after all that was asked to end has ended."""
    for _ in range(12):
        rest = world.settle(40)
        world = end_asked(rest)
        if world is rest:
            return rest
    raise AssertionError("what was asked to end goes on and on")


def initialize(world: World) -> World:
    """Return the world after all init containers that run, or that come after them, did their work."""
    while places := find_running(world, Role.INIT):
        for place in places:
            world = world.exit(place, 0)
        world = world.settle(40)
    return world


# Looking


def find_places(world: World, *roles: Role) -> list[str]:
    """Return the places that have a container, in the order in which they begin; all roles if none is said."""
    names = {c.name for c in world.observed.containers}
    members = [
        (slot, member) for slot in world.look().slots for member in slot.members if member.container_name in names
    ]
    return [f"{slot.step}_{each.name}" for slot, each in members if not roles or each.role in roles]


def find_running(world: World, *roles: Role) -> list[str]:
    """Return the places that run."""
    return [p for p in find_places(world, *roles) if world.container(p).state is ContainerState.RUNNING]


def read_records(world: World) -> dict[str, PodRecord]:
    """Return what is written of each slot, by host name."""
    slots = {slot.hostname: slot for slot in world.look().slots}
    return {name: read_record(slots[name], pod) for pod in world.pods if (name := pod["spec"]["hostname"])}


def get_number(record: PodRecord) -> tuple[int, int]:
    """Return which start of its slot a record is of."""
    return record.restart, record.attempt


def get_restarts(world: World) -> int:
    """Return how often the JobSet started over, as stored."""
    return int(find(world.jobset, "status", "restarts") or 0)


def get_max_restarts(world: World) -> int:
    """Return how often a JobSet may start over."""
    policy = world.look().jobset.spec.failure_policy
    return policy.max_restarts if policy is not None else 0


def find_end(job: JSON) -> str | None:
    """Return the condition type of a stored Job's end, or None."""
    conditions = find(job, "status", "conditions") or []
    return next((type for type in (COMPLETE, FAILED) if is_true(conditions, type)), None)


def is_deleted(world: World) -> bool:
    """Whether the job is to go."""
    return find(world.job, "metadata", "deletionTimestamp") is not None


def is_wanted(world: World) -> bool:
    """Whether the job's nodes should run."""
    return not (is_deleted(world) or is_finished(world.status) or world.job["spec"]["suspend"])


def is_expired(world: World) -> bool:
    """Whether the JobSet's time is over."""
    return world.look().is_expired
