"""Sentences about the containers of one pod that hold however it lives: their order, their volumes, their end."""

from collections.abc import Iterator

from lives import (
    Life,
    end_all,
    find_end,
    follow,
    get_restarts,
    is_deleted,
    is_wanted,
    live,
    read_records,
)
from told_lives import build_pod_sentences
from trainlet.kube.merge import find
from trainlet.planning import labels
from trainlet.planning.lifecycle import has_pod_failed
from trainlet.planning.observed import ContainerState
from trainlet.planning.plan import (
    ContainerAction,
    CreateContainer,
    KillContainer,
    RemoveVolume,
    StartContainer,
    StopContainer,
)
from trainlet.planning.pods import get_pod_name
from trainlet.planning.slots import Role, Slot
from trainlet.planning.status import is_finished
from trainlet.planning.views import Part, View
from worlds import World

in_every_life = build_pod_sentences()


def list_running(world: World, part: Part, *roles: Role) -> list[str]:
    """Return the other containers of these roles that run in a pod."""
    slot = part.view.slot
    names = [m.container_name for m in slot.members if m.role in roles and m.name != part.member.name]
    return [c.name for c in world.observed.containers if c.name in names and c.state is ContainerState.RUNNING]


def list_actions(world: World, *kinds: type[ContainerAction]) -> Iterator[tuple[World, Part]]:
    """Yield what the next plan does to containers of pods, each with the world that the action finds."""
    parts = {part.member.container_name: part for view in world.look().views.values() for part in view.parts}
    for found, action in follow(world):
        if isinstance(action, kinds) and action.name in parts:
            yield found, parts[action.name]


@in_every_life
def test_no_container_starts_before_its_sandbox_runs(life: Life) -> None:
    for before, _ in live(life):
        for world, part in list_actions(before, StartContainer):
            if part.view.slot.has_sandbox and part.member.role is not Role.SANDBOX:
                assert list_running(world, part, Role.SANDBOX)


@in_every_life
def test_init_containers_run_one_by_one_and_before_all_that_come_after(life: Life) -> None:
    """Beside them go only sidecars that began before."""
    for before, _ in live(life):
        for world, part in list_actions(before, StartContainer):
            members = [member.container_name for member in part.view.slot.members]
            place = members.index(part.member.container_name)
            for name in list_running(world, part, Role.INIT):
                assert (part.member.role, place < members.index(name)) == (Role.SIDECAR, True)


@in_every_life
def test_no_main_container_starts_before_all_inits_are_done_and_all_sidecars_have_begun(life: Life) -> None:
    for before, _ in live(life):
        for _, part in list_actions(before, StartContainer):
            if part.member.role is Role.MAIN and not is_initialized(part.view):
                first = [c for c in part.view.record.containers.values() if c.role in (Role.INIT, Role.SIDECAR)]
                assert all(c.succeeded if c.role is Role.INIT else c.running for c in first)


def is_initialized(view: View) -> bool:
    """Tell whether a main container of the pod has begun, so that others only follow or are started again."""
    return any(c.has_begun for c in view.record.mains)


@in_every_life
def test_main_containers_are_made_together(life: Life) -> None:
    """Where one begins, all do that have not begun, or wait for what they need."""
    for before, after in live(life):
        made = {action.spec.name for action in before.draft().plan if isinstance(action, CreateContainer)}
        for name, view in before.look().views.items():
            mains = [p.member for p in view.parts if p.member.role is Role.MAIN and p.container is None]
            fresh = {m.name: m.container_name for m in mains if not view.record.containers[m.name].has_begun}
            if made & set(fresh.values()):
                now = read_records(after)[name].containers
                assert all(container in made or now[key].waiting is not None for key, container in fresh.items())


@in_every_life
def test_nothing_of_a_pod_that_did_its_work_starts_again(life: Life) -> None:
    """Its sidecars end, then its sandbox."""
    for before, _ in live(life):
        for _, part in list_actions(before, StartContainer):
            assert not part.view.record.succeeded
    done = {name for name, record in read_records(life.end).items() if record.succeeded}
    assert not done & {c.pod for c in life.end.observed.containers if c.state is ContainerState.RUNNING}


@in_every_life
def test_main_containers_end_first_then_sidecars_and_the_sandbox_last(life: Life) -> None:
    first = {Role.SIDECAR: (Role.INIT, Role.MAIN), Role.SANDBOX: (Role.INIT, Role.MAIN, Role.SIDECAR)}
    for before, _ in live(life):
        for world, part in list_actions(before, StopContainer, KillContainer):
            if part.member.role is Role.SANDBOX or has_to_end(part.view):
                running = list_running(world, part, *first.get(part.member.role, ()))
                assert all(was_started_by_hand(before, name) for name in running)


def has_to_end(view: View) -> bool:
    """Tell whether a pod is brought down, and not only one of its containers started again."""
    return view.record.stopping_since is not None


def was_started_by_hand(world: World, name: str) -> bool:
    """Tell whether a container runs whose end is written down."""
    [container] = [c for c in world.observed.containers if c.name == name]
    record = read_records(world)[container.pod].containers[container.container]
    return record.termination is not None


@in_every_life
def test_a_pod_begins_anew_as_a_whole(life: Life) -> None:
    """Where its sandbox is another, or where none is started again in it, all of its containers are."""
    for before, after in live(life):
        now = read_records(after)
        for name, old in read_records(before).items():
            [slot] = [slot for slot in after.look().slots if slot.hostname == name]
            once = [m.name for m in slot.members if m.role is not Role.SIDECAR and slot.makes_new_pods]
            for key in once or ([labels.SANDBOX] if slot.has_sandbox else []):
                if name in now and now[name].restart == old.restart:
                    ahead = now[name].containers[key].attempt - old.containers[key].attempt
                    behind = [
                        k for k, c in now[name].containers.items() if c.attempt < old.containers[k].attempt + ahead
                    ]
                    assert not behind, f"{key} is of a later pod than {behind}"


@in_every_life
def test_a_lost_sandbox_is_no_failure(life: Life) -> None:
    for before, after in live(life):
        now = read_records(after)
        for name, old in read_records(before).items():
            if name in now and now[name].restart == old.restart:
                changed = {key for key, c in now[name].containers.items() if c != old.containers[key]}
                assert changed != {labels.SANDBOX} or now[name].failures == old.failures


@in_every_life
def test_a_pod_that_is_not_restarted_in_place_fails_once_and_as_a_whole(life: Life) -> None:
    """When its last main container has ended, or an init one failed."""
    for before, after in live(life):
        now, slots = read_records(after), {slot.hostname: slot for slot in after.look().slots}
        for name, old in read_records(before).items():
            if slots[name].makes_new_pods and name in now and now[name].restart == old.restart:
                has_failed = has_pod_failed(slots[name], now[name])
                assert now[name].failures <= old.failures + (has_failed and not has_pod_failed(slots[name], old))


@in_every_life
def test_a_volume_of_a_pod_stays_as_long_as_the_pod(life: Life) -> None:
    """That none is removed under a container the world sees to."""
    for before, after in live(life):
        records = read_records(after)
        for action in before.draft().plan:
            if isinstance(action, RemoveVolume) and is_wanted(after):
                [slot] = [slot for slot in after.look().slots if action.name.startswith(f"{slot.hostname}-")]
                record = records.get(slot.hostname)
                if record is not None and record.restart == get_restarts(after) and is_active(after, slot):
                    assert not action.name.startswith(f"{get_pod_name(slot, record)}_")


def is_active(world: World, slot: Slot) -> bool:
    """Tell whether the slot's Job is there and goes on."""
    jobs = {job["metadata"]["name"]: job for job in world.jobs}
    job = jobs.get(slot.job_name)
    return job is not None and find_end(job) is None and not find(job, "spec", "suspend")


@in_every_life
def test_nothing_is_left_after_the_end(life: Life) -> None:
    rest = life.end
    if is_deleted(rest):
        assert rest.decide().gone
    elif is_finished(rest.status) and rest.options.auto_remove:
        assert (rest.observed.containers, rest.observed.networks, list_volumes(rest)) == ((), (), [])
    assert set(list_volumes(rest)) <= {volume for slot in rest.look().slots for volume in find_own(rest, slot)}


def list_volumes(world: World) -> list[str]:
    """Return the volumes of pods."""
    return [volume.name for volume in world.observed.volumes if labels.POD in volume.labels]


def find_own(world: World, slot: Slot) -> list[str]:
    """Return the volumes of a slot's present pod."""
    record = read_records(world).get(slot.hostname)
    name = get_pod_name(slot, record) if record is not None else "-"
    return [volume for volume in list_volumes(world) if volume.startswith(f"{name}_")]


@in_every_life
def test_nothing_is_left_of_a_suspended_pod_and_it_begins_as_a_new_one(life: Life) -> None:
    """But of one that did its work, or whose Job has ended."""
    rest = end_all(life.last.edit(suspend=True))
    if is_finished(rest.status) or is_deleted(rest):
        return
    records = read_records(rest)
    ended = {job["metadata"]["name"] for job in rest.jobs if find_end(job) is not None}
    slots = [s for s in rest.look().slots if s.job_name not in ended and s.hostname in records]
    slots = [slot for slot in slots if not records[slot.hostname].succeeded]
    names = {slot.hostname for slot in slots}
    assert not [c.name for c in rest.observed.containers if c.pod in names]
    assert not [v.name for v in rest.observed.volumes if v.labels.get(labels.POD) in names]
    begun = {slot.hostname for slot in slots if records[slot.hostname].has_begun}
    assert not begun & {slot.hostname for slot in slots if len(slot.members) > 1}


test_all_of_it_holds_in_lives_that_are_drawn = in_every_life.build_test(40)
