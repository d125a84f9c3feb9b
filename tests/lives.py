"""Jobs of every shape, in any situation, and what may happen to them: what properties of planning are asked of.

A situation is drawn without asking how it came about: an operator that was away for a day finds any of them.
A life is a situation and what happens after it, with a pass after every happening.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from builders import NOW, build_job, build_replicated_job, build_runtime
from trainlet.kube.conditions import is_true
from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.jobs import COMPLETE, FAILED, BatchJob, JobEnd, JobRecord
from trainlet.planning.jobs import build_job as build_batch_job
from trainlet.planning.observed import ContainerState, ImageState, Observed, ObservedContainer, ObservedImage
from trainlet.planning.options import Options
from trainlet.planning.plan import Action
from trainlet.planning.pods import build_pod
from trainlet.planning.reconcile import conclude
from trainlet.planning.records import PodRecord, Termination, read_record
from trainlet.planning.slots import Slot
from trainlet.planning.status import is_finished
from worlds import IMAGE, World, build_network, build_running

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
DISRUPTED = {"onPodConditions": [{"type": "DisruptionTarget"}]}
POD_RULES = st.fixed_dictionaries({"action": st.sampled_from(["FailJob", "Ignore", "Count"])}).flatmap(
    lambda rule: st.sampled_from([{**rule, **EXIT_42}, {**rule, **DISRUPTED}])
)
INDEX_RULES = POD_RULES | st.just({"action": "FailIndex", **EXIT_42})
DEADLINES = st.fixed_dictionaries({"activeDeadlineSeconds": st.integers(20, 100)})
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
def draw_replicated_jobs(draw: Any, name: str, before: list[str]) -> JSON:
    """Return a replicated job; `before` names those that it may depend on."""
    container: JSON = {"name": name, "image": IMAGE}
    if draw(RARELY):
        container["readinessProbe"] = draw(PROBES)
    if draw(st.booleans()):
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    spec = draw(draw_job_specs())
    pod = {"restartPolicy": spec.pop("restartPolicy", "OnFailure"), "terminationGracePeriodSeconds": 20}
    rjob = build_replicated_job(name, container, ancestor="trainer" if name == "node" else None, **pod)
    rjob = put(rjob, ("template", "spec"), {**rjob["template"]["spec"], **spec})
    if name != "node":
        rjob["replicas"] = draw(st.sampled_from([1, 1, 2]))
        rjob["template"]["spec"]["parallelism"] = draw(st.sampled_from([0, 1, 1, 1])) if rjob["replicas"] == 1 else 1
    if before and draw(st.booleans()):
        rjob["dependsOn"] = [
            {"name": draw(st.sampled_from(before)), "status": draw(st.sampled_from(["Ready", "Complete"]))}
        ]
    return rjob


@st.composite
def draw_runtimes(draw: Any) -> JSON:
    """Return a runtime of one to three replicated jobs, of which one is the trainer's."""
    names = draw(
        st.sampled_from([["node"], ["node"], ["first", "node"], ["node", "last"], ["first", "second", "node"]])
    )
    rjobs: list[JSON] = []
    for name in names:
        rjobs.append(draw(draw_replicated_jobs(name, [rjob["name"] for rjob in rjobs])))
    spec: JSON = {"replicatedJobs": rjobs, **draw(draw_policies(names))}
    if any(find(rjob, "template", "spec", "template", "spec", "containers", 0, "volumeMounts") for rjob in rjobs):
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
def draw_records(draw: Any, restarts: int) -> PodRecord:
    """Return what may be remembered of a slot."""
    attempt, end = draw(COUNTS), draw(st.none() | TERMINATIONS)
    failed = end is not None and end.counted and end.exit_code != 0
    failures = draw(st.integers(int(failed), attempt + int(failed)))
    started_at = draw(st.none() | MOMENTS)
    return PodRecord(
        created_at=draw(MOMENTS),
        restart=draw(st.integers(max(0, restarts - 1), restarts)),
        attempt=attempt,
        failures=failures,
        started_at=started_at,
        ready=started_at is not None and end is None and draw(st.booleans()),
        stopping_since=draw(st.none() | MOMENTS),
        asked=draw(st.booleans()),
        given_up=failed and draw(RARELY),
        termination=end,
        previous=draw(TERMINATIONS) if failures > failed else None,
    )


@st.composite
def draw_containers(draw: Any, world: World, slot: Slot, restart: int) -> ObservedContainer:
    """Return a container of a slot, in any state."""
    record = PodRecord(NOW, attempt=draw(COUNTS), restart=restart)
    spec = world.spec(slot.step, record)
    state = draw(st.sampled_from(ContainerState))
    is_exited, was_started = state is ContainerState.EXITED, state is not ContainerState.CREATED
    drift = {labels.SPEC_HASH: "another"} if draw(RARELY) else {}
    return ObservedContainer(
        id=f"id-{spec.name}",
        name=spec.name,
        labels={**spec.labels, **drift},
        state=state,
        exit_code=draw(CODES) if is_exited else None,
        started_at=draw(MOMENTS) if was_started else None,
        finished_at=draw(MOMENTS) if is_exited else None,
        networks=frozenset(() if draw(RARELY) else {spec.network}),
        disrupted=is_exited and draw(RARELY),
    )


@st.composite
def draw_worlds(draw: Any) -> World:
    """Return any situation: every slot with or without a record, with or without a container."""
    world = draw(draw_jobs())
    world = draw(draw_gangs(world)) if draw(st.booleans()) else world
    restarts = get_restarts(world)
    pods, containers, listening = [], [], {}
    networks = (build_network(),) if draw(st.booleans()) else ()
    for slot in world.look().slots:
        # A pod is written down when its container is there, and is made when those of earlier restarts are gone.
        newest = draw(st.integers(max(0, restarts - 1), restarts))
        if draw(st.booleans()):
            record = draw(draw_records(restarts))
            newest = max(newest, record.restart)
            pods.append(build_pod(world.look().job, slot, record, None))
        if draw(st.booleans()):
            container = draw(draw_containers(world, slot, newest))
            containers.append(container)
            if draw(OFTEN):
                listening[container.id] = frozenset({PORT} if draw(st.booleans()) else ())
    if draw(RARELY):
        known = {labels.POD: "mnist-node-0-99"}
        containers.append(ObservedContainer("id-stray", "mnist-stray", known, ContainerState.RUNNING))
    observed = Observed(tuple(containers), networks, listening=listening, images={IMAGE: draw(IMAGES)})
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
        there = find_steps(world) if self.what == "lose" else find_running(world)
        match self.what:
            case "exit" if there:
                return world.exit(there[self.node % len(there)], self.number)
            case "lose" if there:
                return world.lose(there[self.node % len(there)])
            case "listen" if there:
                return listen(world, there[self.node % len(there)], frozenset({PORT} if self.number else ()))
            case "end what was asked to":
                return end_asked(world)
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
    st.builds(Happening, st.just("lose"), PLACES, passes=PASSES),
    st.builds(Happening, st.just("listen"), PLACES, st.integers(0, 1), PASSES),
    st.builds(Happening, st.just("wait"), number=st.sampled_from([1, 2, 5, 30, 700]), passes=PASSES),
    st.builds(Happening, st.just("suspend"), number=st.integers(0, 1), passes=PASSES),
    st.builds(Happening, st.just("end what was asked to"), passes=st.just(4)),
    st.builds(Happening, st.just("end what was asked to"), passes=st.just(4)),
    st.builds(Happening, st.just("crash"), PLACES, st.integers(0, 7), PASSES),
    st.builds(Happening, st.sampled_from(["lose network", "image", "pass", "pass", "delete"])),
)


@st.composite
def draw_healthy(draw: Any) -> World:
    """Return a job as most are: of any shape, with all that may begin begun."""
    spec = {"trainer": {"numNodes": draw(NODES)}, "suspend": False}
    return World(build_job(**spec), draw(draw_runtimes()), Options(auto_remove=draw(st.booleans()))).settle(20)


SIMPLE = st.builds(
    lambda nodes, limit: build_running(nodes, suspend=False, runtime={"job": {"backoffLimit": limit}}), COUNTS, COUNTS
)
WORLDS = draw_worlds()
HEALTHY = draw_healthy()
Life = tuple[World, list[Happening]]
#: Most lives begin as lives do: with all nodes running.
EXAMPLES = 1000 if LONG else 30
LIVES = st.tuples(WORLDS | HEALTHY | HEALTHY | SIMPLE, st.lists(HAPPENINGS, min_size=4, max_size=16))


def live(life: Life) -> Iterator[tuple[World, World]]:
    """Yield the world before and after each pass of a life."""
    world, happenings = life
    for happening in [Happening("pass"), *happenings]:
        world = happening.happen(world)
        for _ in range(happening.passes):
            after = world.step()
            yield world, after
            world = after


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


def listen(world: World, step: str, ports: frozenset[int]) -> World:
    """Return the world in which the container of a step listens on these ports."""
    listening = {**world.observed.listening, world.container(step).id: ports}
    return replace(world, observed=replace(world.observed, listening=listening))


def end_asked(world: World) -> World:
    """Return the world in which what was asked to end has ended."""
    records = read_records(world)
    for step in find_steps(world):
        container = world.container(step)
        record = records.get(container.pod)
        if record is not None and record.asked and container.state is ContainerState.RUNNING:
            world = world.exit(step, 143)
    return world


# Looking


def find_steps(world: World) -> list[str]:
    """Return the steps that have a container."""
    names = {c.name for c in world.observed.containers}
    return [slot.step for slot in world.look().slots if slot.container_name in names]


def find_running(world: World) -> list[str]:
    """Return the steps that run."""
    return [step for step in find_steps(world) if world.container(step).state is ContainerState.RUNNING]


def read_records(world: World) -> dict[str, PodRecord]:
    """Return what is written of each slot, by host name."""
    return {pod["spec"]["hostname"]: read_record(pod) for pod in world.pods}


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
