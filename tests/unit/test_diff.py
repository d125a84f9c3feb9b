"""What is planned for one slot, as stories: let it run, let something happen, look at the plan.

Whole situations with their texts are in tests/cases; here is what a rule of its own says.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import NOW
from trainlet.kube.meta import JSON
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState
from trainlet.planning.options import Options
from trainlet.planning.plan import StartContainer, StopContainer
from trainlet.planning.probes import Health
from worlds import World, build_running, build_world

RESTART = """\
CreateWorkspace /workspaces/default/mnist
KeepLogs mnist-node-0
RemoveContainer mnist-node-0
CreateContainer mnist-node-0
StartContainer mnist-node-0"""
MADE = "CreateContainer mnist-node-0\nStartContainer mnist-node-0"


def fail(world: World, times: int) -> World:
    """Let node 0 fail so often, each time as soon as it runs."""
    for _ in range(times):
        world = world.exit("node-0", 1).step()
        world = replace(world, now=world.draft().due or world.now).settle()
    return world


def test_an_end_is_written_down_before_its_container_is_touched() -> None:
    world = build_running().after(5).exit("node-0", 1)
    assert world.plan == ""
    assert world.draft().due == world.now
    assert world.step().plan == RESTART


def test_the_first_restart_comes_at_once_and_later_ones_wait() -> None:
    world = fail(build_running(), 1).after(1).exit("node-0", 1).step()
    assert world.plan == ""
    assert world.draft().due == world.now + timedelta(seconds=1)
    assert world.after(0.9).plan == ""
    assert world.after(1).plan == RESTART


def test_a_restart_is_the_next_attempt_and_counts_the_failure() -> None:
    world = fail(build_running(), 2)
    assert world.container("node-0").attempt == 2
    assert (world.record("node-0").attempt, world.record("node-0").failures) == (2, 2)
    assert world.container("node-1").attempt == 0


def test_a_container_removed_by_hand_is_made_again_and_not_counted() -> None:
    world = build_running().lose("node-0")
    assert world.plan == ""
    world = world.step()
    assert world.plan == f"CreateWorkspace /workspaces/default/mnist\n{MADE}"
    assert (world.settle().record("node-0").attempt, world.settle().record("node-0").failures) == (1, 0)


def test_a_container_without_its_network_is_made_again_and_not_counted() -> None:
    world = build_running(nodes=1).lose_network()
    assert world.plan == "CreateNetwork mnist-net"
    world = world.step().step()
    assert world.part("node-0").termination is not None
    assert world.plan == RESTART
    assert (world.settle().record("node-0").attempt, world.settle().record("node-0").failures) == (1, 0)


def test_a_container_that_was_made_and_not_started_is_started() -> None:
    world = build_running().change("node-0", state=ContainerState.CREATED, started_at=None)
    fresh = replace(world, pods=tuple(p for p in world.pods if p["spec"]["hostname"] != "mnist-node-0-0"))
    assert fresh.plan == "StartContainer mnist-node-0"
    assert fresh.draft().plan[0].reason == "node-0 was created and not started"


def test_a_made_container_that_is_not_as_wanted_any_more_is_made_again() -> None:
    world = build_running(nodes=1)
    drifted = {**world.container("node-0").labels, labels.SPEC_HASH: "other"}
    fresh = replace(world.change("node-0", state=ContainerState.CREATED, labels=drifted), pods=())
    assert fresh.plan == f"CreateWorkspace /workspaces/default/mnist\nRemoveContainer mnist-node-0\n{MADE}"


def test_a_running_container_is_never_replaced_for_its_spec() -> None:
    world = build_running()
    drifted = {**world.container("node-0").labels, labels.SPEC_HASH: "other"}
    assert world.change("node-0", labels=drifted).plan == ""


def test_a_node_that_did_its_work_is_left_alone() -> None:
    world = build_running().exit("node-0", 0).settle()
    assert world.plan == ""
    assert world.change("node-0", state=ContainerState.RUNNING).plan == "", "also when somebody starts it again"
    assert world.lose("node-0").plan == "", "also when somebody removes it"


PULLS = [
    # policy, state of the image -> plan, reason and message that the node waits with
    ("IfNotPresent", {"state": "present"}, MADE, None),
    ("IfNotPresent", {"state": "absent"}, "PullImage image:1", ("ContainerCreating", 'pulling image "image:1"')),
    ("IfNotPresent", {"state": "pulling", "message": "half of it"}, "", ("ContainerCreating", "half of it")),
    ("Never", {"state": "present"}, MADE, None),
    (
        "Never",
        {"state": "absent"},
        "",
        (
            "ErrImageNeverPull",
            'image "image:1" is not on this engine and the pull policy is Never: load it or pull it',
        ),
    ),
    ("Always", {"state": "present"}, "PullImage image:1", ("ContainerCreating", 'pulling image "image:1"')),
    (
        "Always",
        {"state": "present", "pulled_at": NOW - timedelta(seconds=1)},
        "PullImage image:1",
        ("ContainerCreating", 'pulling image "image:1"'),
    ),
    ("Always", {"state": "present", "pulled_at": NOW}, MADE, None),
    (
        "IfNotPresent",
        {"state": "failed", "message": "no such", "retry_at": NOW + timedelta(seconds=5)},
        "",
        ("ImagePullBackOff", "no such"),
    ),
    (
        "IfNotPresent",
        {"state": "failed", "message": "no such", "retry_at": NOW},
        "PullImage image:1",
        ("ErrImagePull", "no such"),
    ),
]


@pytest.mark.parametrize("by_option", [True, False])
@pytest.mark.parametrize(("policy", "image", "plan", "waiting"), PULLS)
def test_images_are_had_as_a_kubelet_has_them(
    policy: str, image: dict[str, object], plan: str, waiting: tuple[str, str] | None, by_option: bool
) -> None:
    options = Options(pull_policy=policy) if by_option else Options(pull_policy="Never")
    container = {} if by_option else {"imagePullPolicy": policy}
    world = build_world({"container": container}, options).step()
    world = world.image(**image)  # type: ignore[arg-type]
    assert world.plan == (f"CreateWorkspace /workspaces/default/mnist\n{plan}" if plan == MADE else plan)
    noted = world.step().part("node-0").waiting
    expected = waiting or ("ContainerCreating", "")
    assert (noted.reason, noted.message) == expected if noted else waiting is None


def test_one_image_is_pulled_once_for_all_nodes() -> None:
    world = build_world(trainer={"numNodes": 3}).step().image("absent")
    assert world.plan == "PullImage image:1"


def test_a_node_that_waits_for_its_image_is_looked_at_again_in_time() -> None:
    world = build_world().step()
    retry = NOW + timedelta(seconds=40)
    assert world.image("failed", retry_at=retry).draft().due == retry
    assert world.image("pulling").draft().due is None
    never = replace(world, options=Options(pull_policy="Never")).image("absent")
    assert never.draft().due == NOW + timedelta(seconds=5)


def test_with_always_a_restart_pulls_again() -> None:
    world = build_world(options=Options(pull_policy="Always")).step().image("present", pulled_at=NOW).settle()
    world = world.after(5).exit("node-0", 1).step()
    assert world.plan == "PullImage image:1"
    assert world.image("present", pulled_at=world.now).plan == RESTART


def test_suspension_asks_waits_kills_and_removes() -> None:
    world = build_running(nodes=1).after(5).edit(suspend=True)
    assert (world.plan, world.draft().due) == ("", world.now), "that it is to end is written down first"
    world = world.step()
    assert world.plan == "StopContainer mnist-node-0"
    world = world.step()
    assert (world.plan, world.draft().due) == ("", world.now + timedelta(seconds=30))
    assert world.after(29).plan == ""
    assert world.after(30).plan == "KillContainer mnist-node-0"
    world = world.after(30).step()
    assert world.plan == "", "its end is written down first"
    assert world.step().plan == "KeepLogs mnist-node-0\nRemoveContainer mnist-node-0"
    assert world.settle().observed.containers == ()


def test_the_grace_period_is_the_pod_s() -> None:
    world = build_running(nodes=1, runtime={"pod": {"terminationGracePeriodSeconds": 3}}).edit(suspend=True).settle()
    assert world.after(2).plan == ""
    assert world.after(3).plan == "KillContainer mnist-node-0"


def test_what_ended_before_the_operator_lived_to_write_down_that_it_asked_was_asked() -> None:
    world = build_running(nodes=1).edit(suspend=True).step()
    [stop] = world.draft().plan
    assert isinstance(stop, StopContainer)
    world = world.exit("node-0", 0).settle()
    assert not world.record("node-0").succeeded


def test_a_node_whose_grace_period_passed_unasked_is_asked_all_the_same() -> None:
    world = build_running(nodes=1).edit(suspend=True).step().after(600)
    assert world.plan == "StopContainer mnist-node-0"
    world = world.step()
    assert (world.plan, world.draft().due) == ("", world.now + timedelta(seconds=30))


@pytest.mark.parametrize("code", [0, 1, 143])
def test_what_ends_because_it_was_suspended_is_neither_done_nor_failed(code: int) -> None:
    world = build_running(nodes=1).edit(suspend=True).step().exit("node-0", code).settle()
    world = world.edit(suspend=False).settle()
    assert world.container("node-0").state is ContainerState.RUNNING
    assert (world.record("node-0").failures, world.phase) == (0, "Running")


def test_a_node_that_was_done_stays_done_over_a_suspension() -> None:
    world = build_running().exit("node-0", 0).settle().edit(suspend=True).settle()
    world = world.exit("node-1", 143).settle().edit(suspend=False).settle()
    assert [c.name for c in world.observed.containers if c.state is ContainerState.RUNNING] == ["mnist-node-1"]


def test_a_node_asked_to_end_goes_also_when_the_job_is_resumed_meanwhile() -> None:
    world = build_running(nodes=1).edit(suspend=True).settle().edit(suspend=False).step()
    assert world.plan == ""
    assert world.draft().due == NOW + timedelta(seconds=30)
    world = world.after(30)
    assert world.plan == "KillContainer mnist-node-0"
    world = world.settle()
    assert world.record("node-0").stopping_since is None
    assert (world.container("node-0").attempt, world.record("node-0").failures) == (1, 0)


def test_a_node_that_never_started_is_removed_at_once() -> None:
    world = build_running(nodes=1).change("node-0", state=ContainerState.CREATED, started_at=None)
    world = replace(world, pods=()).step().change("node-0", state=ContainerState.CREATED, started_at=None)
    assert replace(world, pods=()).edit(suspend=True).plan == "RemoveContainer mnist-node-0"


def test_what_somebody_started_to_look_into_is_theirs_to_end() -> None:
    kept = Options(auto_remove=False)
    world = build_running(nodes=1, options=kept).exit("node-0", 0).settle()
    world = world.after(60).change("node-0", state=ContainerState.RUNNING)
    looked_into = world.change("node-0", started_at=world.now)
    assert looked_into.plan == ""
    assert looked_into.delete().plan == "RemoveContainer mnist-node-0", "until the job is deleted"


def test_a_failed_job_ends_its_other_nodes() -> None:
    world = build_running(runtime={"job": {"backoffLimit": 0}}).exit("node-0", 1)
    assert world.step().plan.splitlines()[-1] == "StopContainer mnist-node-1"


def test_deletion_keeps_no_logs_and_waits_for_no_record() -> None:
    world = build_running(nodes=1).exit("node-0", 1).delete()
    assert world.plan == "RemoveContainer mnist-node-0"
    world = world.step()
    assert world.plan == "RemoveNetwork mnist-net"
    assert not world.decide().gone
    assert world.step().decide().gone


def test_a_container_of_an_earlier_attempt_makes_way_for_the_one_that_is_written_down() -> None:
    world = build_running(nodes=1).exit("node-0", 1).step()
    begun = world.store(world.decide())
    assert begun.record("node-0").attempt == 1
    assert begun.container("node-0").attempt == 0
    assert begun.plan == RESTART
    assert begun.settle().container("node-0").attempt == 1


def test_a_node_that_starts_is_not_asked_to_end_any_more() -> None:
    world = build_running(nodes=1).exit("node-0", 1).step()
    begun = world.store(world.decide()).change("node-0", state=ContainerState.RUNNING)
    suspended = begun.edit(suspend=True).step().exit("node-0", 143).settle()
    world = suspended.edit(suspend=False).settle()
    assert world.container("node-0").attempt == 1
    assert world.record("node-0").stopping_since is None


def test_a_finished_job_whose_nodes_were_forgotten_starts_none() -> None:
    world = build_running(nodes=1).exit("node-0", 0).settle()
    assert replace(world, pods=()).settle().observed.containers == ()


# Probes and hooks

LIVENESS: JSON = {"livenessProbe": {"tcpSocket": {"port": 80}}}
DYING = Health(started=True, alive=False, message="Liveness probe failed: nothing listens on port 80")


def feel(world: World, health: Health) -> World:
    """Return the world in which the probes of the only node say this."""
    known = {world.container("node-0").id: health}
    return replace(world, observed=replace(world.observed, health=known))


def find_stop(world: World) -> StopContainer:
    """Make passes until the node is asked to end, and return how."""
    for _ in range(4):
        stops = [action for action in world.draft().plan if isinstance(action, StopContainer)]
        if stops:
            return stops[0]
        world = world.step()
    raise AssertionError("it is never asked")


def test_a_node_that_is_not_alive_is_ended_counted_and_started_again() -> None:
    world = feel(build_running(1, runtime={"container": LIVENESS}), DYING)
    assert find_stop(world).reason == DYING.message
    world = world.step().step()
    assert world.part("node-0").unhealthy
    world = world.exit("node-0", 143).settle()
    assert (world.record("node-0").failures, world.container("node-0").attempt) == (1, 1)
    assert not world.part("node-0").unhealthy


def test_a_node_that_ends_well_when_its_probes_end_it_is_started_again_all_the_same() -> None:
    world = feel(build_running(1, runtime={"container": LIVENESS}), DYING).step().step()
    world = world.exit("node-0", 0).settle()
    assert (world.phase, world.container("node-0").attempt, world.record("node-0").failures) == ("Running", 1, 0)


OVER = Health(started=True, alive=False, message='Usage of EmptyDir volume "data" exceeds the limit "1Mi"')
ON_DISK: JSON = {
    "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    "pod": {"volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}]},
}


@pytest.mark.parametrize("policy", ["OnFailure", "Never"])
@pytest.mark.parametrize("code", [143, 0])
def test_a_pod_that_takes_too_much_disk_has_failed_and_its_volume_goes_with_it(policy: str, code: int) -> None:
    world = build_running(1, runtime={**ON_DISK, "pod": {**ON_DISK["pod"], "restartPolicy": policy}})
    [before] = world.observed.volumes
    world = feel(world, OVER)
    assert find_stop(world).reason == OVER.message
    world = world.step().step().exit("node-0", code).settle().after(60).settle()
    record = world.record("node-0")
    assert (record.failures, record.deleted_at, record.containers["node"].previous.reason) == (1, None, "Evicted")
    assert record.containers["node"].previous.exit_code == (code or 137)
    assert world.container("node-0").state is ContainerState.RUNNING
    [after] = world.observed.volumes
    assert after.name != before.name


@pytest.mark.parametrize(("seconds", "grace"), [(None, 30), (3, 3)])
def test_a_probe_may_say_how_long_the_end_may_take(seconds: int | None, grace: int) -> None:
    probe = {**LIVENESS["livenessProbe"], "terminationGracePeriodSeconds": seconds}
    world = feel(build_running(1, runtime={"container": {"livenessProbe": probe}}), DYING)
    assert find_stop(world).grace_seconds == grace
    assert find_stop(world.edit(suspend=True)).grace_seconds == grace


def test_hooks_go_with_the_start_and_the_end() -> None:
    hooks = {"postStart": {"sleep": {"seconds": 1}}, "preStop": {"httpGet": {"port": "http", "path": "/end"}}}
    container = {"lifecycle": hooks, "ports": [{"name": "http", "containerPort": 8080}]}
    world = build_world({"container": container})
    while not any(isinstance(action, StartContainer) for action in world.draft().plan):
        world = world.step()
    [start] = [action for action in world.draft().plan if isinstance(action, StartContainer)]
    assert start.hook is not None
    assert start.hook.handler.sleep is not None
    stop = find_stop(world.settle().edit(suspend=True))
    assert stop.hook is not None
    assert stop.hook.handler.http_get is not None
    assert (stop.hook.handler.http_get.port, stop.hook.address, stop.grace_seconds) == (8080, "10.213.0.2", 30)
