"""Sentences about planning that hold whatever is stored and seen, and however a job lives.

A situation is drawn without asking how it came about: an operator that was away for a day finds any of them.
A life is a situation and what happens after it, with a pass after every happening.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from builders import NOW, build_job, build_runtime
from trainlet.kube.merge import find
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, ImageState, Observed, ObservedContainer, ObservedImage
from trainlet.planning.options import Options
from trainlet.planning.plan import (
    Action,
    ContainerAction,
    CreateContainer,
    CreateNetwork,
    CreateWorkspace,
    PullImage,
    RemoveContainer,
    RemoveNetwork,
    StartContainer,
    StopContainer,
)
from trainlet.planning.pods import build_pod
from trainlet.planning.records import PodRecord, Termination, read_record
from trainlet.planning.slots import Slot
from trainlet.planning.status import is_finished
from worlds import IMAGE, World, build_network, build_running

STARTS = (CreateNetwork, CreateWorkspace, CreateContainer, StartContainer, PullImage)
CONDITIONS = {
    "Complete": {"type": "Complete", "status": "True", "reason": "AllJobsCompleted"},
    "Failed": {"type": "Failed", "status": "True", "reason": "FailedJobs"},
    "Suspended": {"type": "Suspended", "status": "True", "reason": "Suspended"},
}
CODES = st.sampled_from([0, 0, 1, 127, 137, 143])
MOMENTS = st.integers(-700, 0).map(lambda seconds: NOW + timedelta(seconds=seconds))
COUNTS = st.integers(0, 3)
RARELY = st.integers(0, 4).map(lambda number: number == 4)

TERMINATIONS = st.builds(
    Termination, CODES, st.just("Error"), st.just(""), st.none() | MOMENTS, MOMENTS, counted=st.booleans()
)
RECORDS = st.builds(
    PodRecord,
    created_at=MOMENTS,
    attempt=COUNTS,
    failures=st.just(0),
    started_at=st.none() | MOMENTS,
    stopping_since=st.none() | MOMENTS,
    asked=st.booleans(),
    termination=st.none() | TERMINATIONS,
    previous=st.none(),
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
    """Return a job of zero to three nodes, in any state of its own."""
    spec = {"trainer": {"numNodes": draw(COUNTS)}, "suspend": draw(RARELY)}
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
    runtime = build_runtime(
        pod={"restartPolicy": draw(st.sampled_from(["OnFailure", "Never"])), "terminationGracePeriodSeconds": 20},
        job={"backoffLimit": draw(st.integers(0, 9))},
    )
    return World(job, runtime, draw(OPTIONS))


@st.composite
def draw_containers(draw: Any, world: World, slot: Slot) -> ObservedContainer:
    """Return a container of a slot, in any state."""
    attempt = draw(COUNTS)
    spec = world.spec(slot.step, PodRecord(NOW, attempt=attempt))
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
    pods, containers = [], []
    networks = (build_network(),) if draw(st.booleans()) else ()
    for slot in world.look().slots:
        if draw(st.booleans()):
            record = draw(RECORDS)
            end = record.termination
            failed = end is not None and end.counted and end.exit_code != 0
            record = replace(record, failures=draw(st.integers(int(failed), record.attempt + int(failed))))
            previous = draw(TERMINATIONS) if record.failures > failed else None
            pods.append(build_pod(world.look().job, slot, replace(record, previous=previous), None))
        if draw(st.booleans()):
            containers.append(draw(draw_containers(world, slot)))
    if draw(RARELY):
        known = {labels.POD: "mnist-node-0-99"}
        containers.append(ObservedContainer("id-stray", "mnist-stray", known, ContainerState.RUNNING))
    observed = Observed(tuple(containers), networks, {IMAGE: draw(IMAGES)})
    return replace(world, pods=tuple(pods), observed=observed)


@dataclass(frozen=True)
class Happening:
    """Something that happens to a job from outside of its operator."""

    what: str
    node: int = 0
    number: int = 0

    def happen(self, world: World) -> World:
        """Return the world after it; what cannot happen does not."""
        step = f"node-{self.node}"
        names = {c.name: c.state for c in world.observed.containers}
        state = names.get(f"mnist-{step}")
        match self.what:
            case "exit" if state is ContainerState.RUNNING:
                return world.exit(step, self.number)
            case "lose" if state is not None:
                return world.lose(step)
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
        return world


WORLDS = draw_worlds()
HAPPENINGS = st.one_of(
    st.builds(Happening, st.just("exit"), st.integers(0, 2), CODES),
    st.builds(Happening, st.just("lose"), st.integers(0, 2)),
    st.builds(Happening, st.just("wait"), number=st.sampled_from([1, 2, 5, 30, 700])),
    st.builds(Happening, st.just("suspend"), number=st.integers(0, 1)),
    st.builds(Happening, st.sampled_from(["lose network", "image", "pass"])),
    st.builds(Happening, st.sampled_from(["pass", "pass", "delete"])),
)
#: Half of the lives begin as most do: with all nodes running.
HEALTHY = st.builds(
    lambda nodes, limit: build_running(nodes, suspend=False, runtime={"job": {"backoffLimit": limit}}), COUNTS, COUNTS
)
LIVES = st.tuples(WORLDS | HEALTHY, st.lists(HAPPENINGS, max_size=12))


def live(life: tuple[World, list[Happening]]) -> Iterator[tuple[World, World]]:
    """Yield the world before and after each pass of a life."""
    world, happenings = life
    for happening in [Happening("pass"), *happenings]:
        world = happening.happen(world)
        after = world.step()
        yield world, after
        world = after


def follow(world: World) -> Iterator[tuple[World, Action]]:
    """Yield each action of the next plan with the world that it finds."""
    for action in world.draft().plan:
        yield world, action
        world = world.perform(action)


def read_records(world: World) -> dict[str, PodRecord]:
    """Return what is written of each slot, by host name."""
    return {pod["spec"]["hostname"]: read_record(pod) for pod in world.pods}


def is_deleted(world: World) -> bool:
    return find(world.job, "metadata", "deletionTimestamp") is not None


def is_wanted(world: World) -> bool:
    """Whether the job's nodes should run."""
    return not (is_deleted(world) or is_finished(world.status) or world.job["spec"]["suspend"])


@given(WORLDS)
def test_a_plan_applied_again_is_empty(world: World) -> None:
    """Passes at one instant come to rest after a few steps, and then there is nothing to do and nothing new to tell."""
    rest = world.settle(passes=8)
    assert rest.draft().plan == ()
    assert rest.step() == rest


@given(LIVES)
def test_there_are_never_two_containers_of_one_name(life: tuple[World, list[Happening]]) -> None:
    for before, _ in live(life):
        for world, action in follow(before):
            if isinstance(action, CreateContainer):
                assert action.target not in {c.name for c in world.observed.containers}


@given(LIVES)
def test_nothing_starts_for_a_suspended_finished_or_deleted_job(life: tuple[World, list[Happening]]) -> None:
    for before, after in live(life):
        if not is_wanted(after):
            assert not [action for action in before.draft().plan if isinstance(action, STARTS)]


@given(LIVES)
def test_restarts_never_fall(life: tuple[World, list[Happening]]) -> None:
    """Nor is a slot forgotten, nor a failure taken back that was not the engine's."""
    for before, after in live(life):
        now = read_records(after)
        disrupted = {c.pod for c in before.observed.containers if c.disrupted}
        for name, record in read_records(before).items():
            assert now[name].attempt >= record.attempt
            assert now[name].failures >= record.failures - (name in disrupted)
        if before.report is not None and after.report is not None:
            assert after.report["status"]["restarts"] >= before.report["status"]["restarts"]


@given(LIVES)
def test_what_was_asked_to_end_has_not_failed(life: tuple[World, list[Happening]]) -> None:
    """And any other end counts as one failure at most."""
    for before, after in live(life):
        now = read_records(after)
        for name, record in read_records(before).items():
            if now[name].attempt == record.attempt and now[name].failures > record.failures:
                assert now[name].failures == record.failures + 1
                assert record.stopping_since is None


@given(LIVES)
def test_a_terminal_condition_never_reverts(life: tuple[World, list[Happening]]) -> None:
    for before, after in live(life):
        ended = [c for c in before.conditions if c[0] in ("Complete", "Failed")]
        assert [c for c in after.conditions if c[0] in ("Complete", "Failed")][: len(ended)] == ended
        assert len([c for c in after.conditions if c[0] in ("Complete", "Failed")]) <= 1


@given(LIVES)
def test_no_container_of_an_attempt_starts_while_one_before_it_lives(life: tuple[World, list[Happening]]) -> None:
    for before, _ in live(life):
        for world, action in follow(before):
            if isinstance(action, StartContainer):
                mine = world.get(action.id)
                others = [c for c in world.observed.containers if c.pod == mine.pod and c.id != mine.id]
                assert all(c.state is ContainerState.EXITED for c in others)
                assert mine.attempt >= read_records(before).get(mine.pod, PodRecord(NOW)).attempt


@given(LIVES)
def test_no_container_is_removed_before_its_end_is_written_down(life: tuple[World, list[Happening]]) -> None:
    """Except with its job, and those that never ran or are no node's."""
    for before, _ in live(life):
        slots = {slot.hostname for slot in before.look().slots}
        written = read_records(before)
        for action in before.draft().plan:
            if not isinstance(action, RemoveContainer) or is_deleted(before):
                continue
            container = before.get(action.id)
            if container.state is ContainerState.CREATED or container.pod not in slots:
                continue
            record = written[container.pod]
            is_earlier = record.attempt > container.attempt
            assert is_earlier or (record.attempt == container.attempt and record.termination is not None)


@given(LIVES)
def test_a_log_is_kept_before_its_container_goes(life: tuple[World, list[Happening]]) -> None:
    """Except with its job, and of those that never ran or are no node's."""
    for before, _ in live(life):
        slots = {slot.hostname for slot in before.look().slots}
        kept: set[str] = set()
        for action in before.draft().plan:
            if isinstance(action, RemoveContainer) and not is_deleted(before):
                container = before.get(action.id)
                ran = container.state is not ContainerState.CREATED and container.pod in slots
                assert not ran or container.id in kept
            elif isinstance(action, ContainerAction):
                kept.add(action.id)


@given(LIVES)
def test_only_what_is_the_job_s_is_touched(life: tuple[World, list[Happening]]) -> None:
    """Names begin with the job's, ids were seen or made in this plan; all that is made carries the job's uid."""
    for before, _ in live(life):
        seen = {c.id for c in before.observed.containers} | {n.id for n in before.observed.networks}
        uid = before.job["metadata"]["uid"]
        for action in before.draft().plan:
            match action:
                case CreateContainer(spec=spec) | CreateNetwork(spec=spec):
                    assert spec.labels[labels.OWNER_UID] == uid
                    assert spec.name.startswith("mnist-")
                    seen.add(spec.name)
                case ContainerAction(id=id) | RemoveNetwork(id=id):
                    assert id in seen
                    assert action.target.startswith("mnist-")
                case PullImage(image=image):
                    assert image == IMAGE
                case CreateWorkspace(path=path, owner_uid=owner):
                    assert (path, owner) == ("/workspaces/default/mnist", uid)
                case _:
                    raise AssertionError(f"an action of an unknown kind: {action}")


@given(WORLDS)
def test_the_same_input_gives_the_same_output_and_stays_as_it_is(world: World) -> None:
    before = repr(world)
    again = replace(world)
    assert world.draft() == again.draft()
    assert world.decide() == again.decide()
    assert repr(world) == before


@given(LIVES)
def test_a_node_that_does_not_run_is_looked_at_again(life: tuple[World, list[Happening]]) -> None:
    """A job at rest has what it wants, or knows when to look again, or waits for a pull that will wake it."""
    for _, after in live(life):
        rest = after.settle()
        images = rest.observed.images.values()
        if rest.draft().due is not None or any(image.state is ImageState.PULLING for image in images):
            continue
        running = {c.pod for c in rest.observed.containers if c.state is ContainerState.RUNNING}
        if is_wanted(rest):
            idle = [name for name, record in read_records(rest).items() if not record.succeeded]
            assert set(idle) <= running
        elif is_deleted(rest):
            assert rest.decide().gone
        elif is_finished(rest.status) and rest.options.auto_remove:
            assert (rest.observed.containers, rest.observed.networks) == ((), ())
        else:
            ended = {name for name, record in read_records(rest).items() if record.termination is not None}
            assert running <= ended, "what runs was started by somebody after its end"


@given(LIVES)
def test_a_node_is_asked_to_end_once(life: tuple[World, list[Happening]]) -> None:
    asked: set[str] = set()
    for before, _ in live(life):
        for action in before.draft().plan:
            if isinstance(action, StopContainer):
                assert action.id not in asked
                asked.add(action.id)
