"""Sentences about the containers of a job that hold whatever is stored and seen, and however the job lives.

What a pod, a JobSet and its Jobs are held to stands in `test_life_properties.py`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings

from lives import (
    LONG,
    WORLDS,
    Life,
    find_end,
    follow,
    get_number,
    get_restarts,
    is_deleted,
    is_wanted,
    live,
    read_records,
)
from told_lives import build_sentences
from trainlet.kube.merge import find
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, ImageState, ObservedContainer
from trainlet.planning.plan import (
    ContainerAction,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    CreateWorkspace,
    PullImage,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    StartContainer,
    StopContainer,
)
from trainlet.planning.pod_failures import is_index_failed
from trainlet.planning.records import ContainerRecord, PodRecord
from trainlet.planning.slots import Role
from trainlet.planning.status import is_finished
from worlds import IMAGE, SANDBOX_IMAGE, World, is_made_of

in_every_life = build_sentences()

STARTS = (CreateNetwork, CreateVolume, CreateWorkspace, CreateContainer, StartContainer, PullImage)


@settings(max_examples=3000 if LONG else 60)
@given(WORLDS)
def test_a_plan_applied_again_is_empty(world: World) -> None:
    """Passes at one instant come to rest after a few steps, and then there is nothing to do and nothing new to tell."""
    rest = world.settle(passes=40)
    assert rest.draft().plan == ()
    assert rest.step() == rest


@in_every_life
def test_there_are_never_two_containers_of_one_name(life: Life) -> None:
    """One that was made and not started may be made again: engines take that for done, and see to its files."""
    for before, _ in live(life):
        for world, action in follow(before):
            if isinstance(action, CreateContainer):
                others = [c for c in world.observed.containers if not is_made_of(c, action.spec)]
                assert action.target not in {c.name for c in others}


@in_every_life
def test_nothing_starts_for_a_suspended_finished_or_deleted_job(life: Life) -> None:
    for before, after in live(life):
        if not is_wanted(after):
            assert not [action for action in before.draft().plan if isinstance(action, STARTS)]


@in_every_life
def test_restarts_never_fall(life: Life) -> None:
    """Nor is a slot forgotten but with its JobSet, nor a failure taken back that was not the engine's."""
    for before, after in live(life):
        now = read_records(after)
        disrupted = Counter(c.pod for c in before.observed.containers if c.disrupted)
        if after.jobset is None:
            assert now == {}
            continue
        assert get_restarts(after) >= get_restarts(before)
        for name, record in read_records(before).items():
            if name not in now:
                assert record.restart < get_restarts(after)
                continue
            assert get_number(now[name]) >= get_number(record)
            if now[name].restart == record.restart:
                assert now[name].failures >= record.failures - disrupted[name]
                assert all(now[name].containers[key].attempt >= old.attempt for key, old in record.containers.items())


@in_every_life
def test_a_report_never_tells_of_fewer_restarts(life: Life) -> None:
    for before, after in live(life):
        told = [find(world.report, "status", "restarts") for world in (before, after)]
        assert (told[0] or 0) <= told[1]


@in_every_life
def test_what_was_asked_to_end_has_not_failed(life: Life) -> None:
    """And any other end counts as one failure at most, and as none in a pod that has failed already."""
    for before, after in live(life):
        now = read_records(after)
        for name, old in read_records(before).items():
            if name not in now or now[name].restart != old.restart or now[name].failures <= old.failures:
                continue
            [slot] = [slot for slot in after.look().slots if slot.hostname == name]
            failed = [key for key, each in now[name].containers.items() if each.has_failed]
            fresh = [key for key in failed if now[name].containers[key].termination != old.containers[key].termination]
            assert now[name].failures - old.failures <= (1 if slot.makes_new_pods else len(fresh))
            assert not all(was_asked(old.containers[key], now[name].containers[key]) for key in failed)


def was_asked(old: ContainerRecord, now: ContainerRecord) -> bool:
    """Tell whether a container was to end, and not because of its probes."""
    return old.attempt == now.attempt and old.stopping_since is not None and not old.unhealthy


@in_every_life
def test_a_terminal_condition_never_reverts(life: Life) -> None:
    for before, after in live(life):
        ended = [c for c in before.conditions if c[0] in ("Complete", "Failed")]
        assert [c for c in after.conditions if c[0] in ("Complete", "Failed")][: len(ended)] == ended
        assert len([c for c in after.conditions if c[0] in ("Complete", "Failed")]) <= 1


@in_every_life
def test_no_container_starts_while_an_earlier_one_of_its_slot_lives(life: Life) -> None:
    """Neither one of an earlier attempt, nor one of an earlier restart of the JobSet."""
    for before, _ in live(life):
        records = read_records(before)
        for world, action in follow(before):
            if isinstance(action, StartContainer):
                mine = world.get(action.id)
                others = [c for c in world.observed.containers if c.pod == mine.pod and c.id != mine.id]
                assert all(c.state is ContainerState.EXITED for c in others if c.container == mine.container)
                assert {c.restart for c in others if c.state is ContainerState.RUNNING} <= {mine.restart}
                record = records.get(mine.pod)
                if record is not None:
                    attempt = record.containers[mine.container].attempt
                    assert (mine.restart, mine.attempt) >= (record.restart, attempt)


@in_every_life
def test_no_container_is_removed_before_its_end_is_written_down(life: Life) -> None:
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
            pod, mine = written[container.pod], (container.restart, container.attempt)
            record = pod.containers[container.container]
            assert (pod.restart, record.attempt, record.termination is not None) >= (*mine, True)


@in_every_life
def test_a_log_is_kept_before_its_container_goes(life: Life) -> None:
    """Except with its job, and of those that never ran, have none or are no node's."""
    for before, _ in live(life):
        slots = {slot.hostname for slot in before.look().slots}
        kept: set[str] = set()
        for action in before.draft().plan:
            if isinstance(action, RemoveContainer) and not is_deleted(before):
                container = before.get(action.id)
                ran = container.state is not ContainerState.CREATED and container.pod in slots
                ran = ran and container.container != labels.SANDBOX
                assert not ran or container.id in kept
            elif isinstance(action, ContainerAction):
                kept.add(action.id)


@in_every_life
def test_only_what_is_the_job_s_is_touched(life: Life) -> None:
    """Names are the job's, ids were seen or made in this plan; all that goes with the job carries its uid."""
    for before, _ in live(life):
        seen = {c.id for c in before.observed.containers} | {n.id for n in before.observed.networks}
        uid = before.job["metadata"]["uid"]
        for action in before.draft().plan:
            match action:
                case CreateContainer(spec=spec) | CreateNetwork(spec=spec):
                    assert spec.labels[labels.OWNER_UID] == uid
                    assert spec.name.startswith("mnist-")
                    seen.add(spec.name)
                case CreateVolume(spec=volume):
                    is_claim = volume.name == "data-mnist"
                    assert is_claim or (volume.name.startswith("mnist-") and labels.POD in volume.labels)
                    assert volume.labels.get(labels.OWNER_UID, uid if is_claim else "") == uid
                case RemoveVolume(name=name):
                    assert name in {volume.name for volume in before.observed.volumes}
                case ContainerAction(id=id) | RemoveNetwork(id=id):
                    assert id in seen
                    assert action.target.startswith("mnist-")
                case PullImage(image=image):
                    assert image in (IMAGE, SANDBOX_IMAGE)
                case CreateWorkspace(path=path, owner_uid=owner):
                    assert (path, owner) == ("/workspaces/default/mnist", uid)
                case _:
                    raise AssertionError(f"an action of an unknown kind: {action}")


@settings(max_examples=3000 if LONG else 60)
@given(WORLDS)
def test_the_same_input_gives_the_same_output_and_stays_as_it_is(world: World) -> None:
    before = repr(world)
    again = replace(world)
    assert world.draft() == again.draft()
    assert world.decide() == again.decide()
    assert repr(world) == before


@in_every_life
def test_a_node_that_does_not_run_is_looked_at_again(life: Life) -> None:
    """A job at rest has what it wants, or knows when to look again, or waits for a pull that will wake it."""
    for rest in (life.rest, life.end):
        images = rest.observed.images.values()
        if rest.draft().due is not None or any(image.state is ImageState.PULLING for image in images):
            continue
        working = {c.pod for c in rest.observed.containers if is_working(rest, c)}
        records = read_records(rest)
        if is_wanted(rest):
            active = find_active(rest)
            idle = {name for name, record in records.items() if not (record.succeeded or is_given_up(rest, name))}
            assert {name for name in idle if name in active} <= working
        elif is_deleted(rest):
            assert rest.decide().gone
        elif is_finished(rest.status) and rest.options.auto_remove:
            assert (rest.observed.containers, rest.observed.networks) == ((), ())
            assert not [volume.name for volume in rest.observed.volumes if labels.POD in volume.labels]
        else:
            assert all(has_ended(records, c) for c in rest.observed.containers if c.state is ContainerState.RUNNING), (
                "what runs was started by somebody after its end"
            )


def is_working(world: World, container: ObservedContainer) -> bool:
    """Tell whether a container runs that its pod waits for."""
    members = [member for slot in world.look().slots for member in slot.members if slot.hostname == container.pod]
    role = next((member.role for member in members if member.name == container.container), None)
    return container.state is ContainerState.RUNNING and role in (Role.INIT, Role.MAIN)


def has_ended(records: Mapping[str, PodRecord], container: ObservedContainer) -> bool:
    """Tell whether it is written down that a container has ended."""
    record = records.get(container.pod)
    return record is not None and record.containers[container.container].termination is not None


def find_active(world: World) -> set[str]:
    """Return the slots of unfinished Jobs that are there."""
    jobs = {job["metadata"]["name"] for job in world.jobs if find_end(job) is None}
    return {slot.hostname for slot in world.look().slots if slot.job_name in jobs}


def is_given_up(world: World, name: str) -> bool:
    """Tell whether a slot's index has failed for good while others of its Job go on."""
    [slot] = [slot for slot in world.look().slots if slot.hostname == name]
    return is_index_failed(slot.job_spec, read_records(world)[name])


@in_every_life
def test_a_node_is_asked_to_end_once(life: Life) -> None:
    asked: set[str] = set()
    for before, _ in live(life):
        for action in before.draft().plan:
            if isinstance(action, StopContainer):
                assert action.id not in asked
                asked.add(action.id)


test_all_of_it_holds_in_lives_that_are_drawn = in_every_life.build_test(40)
