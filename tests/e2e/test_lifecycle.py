"""Restarts of all nodes, suspension, deadlines and ends by policy: what the world looks like, before, in and after.

That all nodes start over runs on every engine, because it makes containers of a name whose predecessors an engine is
just removing, and puts a volume into them again. The rest is decided by the same pure code whatever the engine: each
scenario runs on one, and they take turns.
"""

from pathlib import Path

import pytest

from runtimes import drop_counting_job
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ObservedContainer
from waiting import wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

on_docker = pytest.mark.parametrize("world", ["docker"], indirect=True)
on_podman = pytest.mark.parametrize("world", ["podman"], indirect=True)
on_rootless_podman = pytest.mark.parametrize("world", ["podman-rootless"], indirect=True)

RESTART_ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"


def get_uid(world: World, name: str) -> str:
    return str(world.job(name)["metadata"]["uid"])


def get_counters(world: World, name: str, replicated_job: str = "node") -> JSON:
    """Return what jobsStatus counts of a replicated Job, zeros left out."""
    entries = (world.job(name).get("status") or {}).get("jobsStatus") or []
    entry = next((each for each in entries if each["name"] == replicated_job), {})
    return {key: value for key, value in entry.items() if value and key != "name"}


def get_end(world: World, name: str) -> tuple[str, str, str]:
    """Return type, reason and message of the job's last condition."""
    condition = world.job(name)["status"]["conditions"][-1]
    return condition["type"], condition["reason"], condition["message"]


def read_number(workspace: Path, name: str) -> int:
    """Return what checkpoint_counter.py wrote into a file."""
    path = workspace / name
    return int(path.read_text()) if path.exists() else 0


def wait_holding(world: World, name: str, nodes: int, before: frozenset[str] = frozenset()) -> list[ObservedContainer]:
    """Wait until so many nodes, of containers other than those of before, have counted as far as they may."""

    def look() -> list[ObservedContainer]:
        running = [container for container in world.running(name) if container.id not in before]
        return running if len(running) == nodes and all(map(holds, running)) else []

    def holds(container: ObservedContainer) -> bool:
        return any("holds at" in line.text for line in world.engine.read_logs(container.id))

    try:
        return wait_for(look, f"{nodes} nodes of {name} to hold", 60)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{world.describe(name)}") from None


def wait_no_containers(world: World, uid: str) -> None:
    wait_for(lambda: not world.observe(uid).containers, "the containers to go", 60)


def assert_completes(world: World, name: str) -> None:
    report = world.wait_phase(name, "Complete", "Failed", "Rejected")
    assert report["phase"] == "Complete", world.describe(name)


# Restarts of all nodes


def test_all_nodes_start_over_from_what_they_wrote_to_their_claim(world: World) -> None:
    world.start()
    workspace = drop_counting_job(world, "gang", 2, "checkpoint", HOLD_AT=5)
    before = wait_holding(world, "gang", 2)
    uid = get_uid(world, "gang")
    [volume] = world.observe(uid).volumes
    world.client("kill", before[1].name)
    after = wait_holding(world, "gang", 2, frozenset(container.id for container in before))
    assert [container.name for container in after] == ["gang-node-0", "gang-node-1"]
    assert {container.labels[RESTART_ATTEMPT] for container in after} == {"1"}
    assert world.observe(uid).volumes == (volume,)
    (workspace / "go").touch()
    assert_completes(world, "gang")
    assert [condition["type"] for condition in world.job("gang")["status"]["conditions"]] == ["Complete"]
    wait_no_containers(world, uid)
    for rank in range(2):
        assert f"rank {rank} start 1 from 0\n" in world.log_of("gang", f"node-{rank}", previous=True)
        log = world.log_of("gang", f"node-{rank}")
        assert f"rank {rank} start 2 from 5\n" in log
        assert f"rank {rank} at 10\n" in log
    assert world.observe(uid).volumes == (volume,), "a claim lives as long as the job"
    (world.jobs / "gang.yaml").unlink()
    world.wait_gone(uid)


@on_docker
def test_all_nodes_start_over_when_one_failed_while_the_operator_was_away(world: World) -> None:
    world.start()
    workspace = drop_counting_job(world, "away", 2, "checkpoint", HOLD_AT=5)
    before = wait_holding(world, "away", 2)
    world.kill()
    world.client("kill", before[0].name)
    wait_for(lambda: len(world.running("away")) == 1, "the node to end")
    world.start()
    wait_holding(world, "away", 2, frozenset(container.id for container in before))
    (workspace / "go").touch()
    assert_completes(world, "away")


@on_podman
def test_no_more_restarts_than_the_policy_gives(world: World) -> None:
    world.start("--restart-backoff", "100ms")
    workspace = drop_counting_job(world, "stubborn", 2, "checkpoint", CHECKPOINTS="/workspace", EXITS="1 1 1 1 1")
    world.wait_phase("stubborn", "Failed", "Complete", "Rejected")
    kind, reason, message = get_end(world, "stubborn")
    assert (kind, reason) == ("Failed", "ReachedMaxRestarts")
    assert message == "jobset failed due to reaching max number of restarts (first failed job: stubborn-node-0)"
    assert max(read_number(workspace, f"starts-{rank}") for rank in range(2)) == 3
    assert world.report("stubborn")["rootCause"]["exitCode"] == 1
    wait_no_containers(world, get_uid(world, "stubborn"))


# What exit codes mean


@on_rootless_podman
def test_exit_codes_are_ignored_counted_or_final_by_policy(world: World) -> None:
    world.start("--restart-backoff", "100ms")
    forgiven = drop_counting_job(world, "forgiven", 1, "exit-codes", EXITS="7 7 1")
    hopeless = drop_counting_job(world, "hopeless", 1, "exit-codes", EXITS="7 1 42")
    worn_out = drop_counting_job(world, "worn-out", 1, "exit-codes", EXITS="1 7 1")
    assert_completes(world, "forgiven")
    assert read_number(forgiven, "starts-0") == 4
    for name, workspace, code in (("hopeless", hopeless, 42), ("worn-out", worn_out, 1)):
        world.wait_phase(name, "Failed", "Complete", "Rejected")
        message = f"jobset failed due to one or more job failures (first failed job: {name}-node-0)"
        assert get_end(world, name) == ("Failed", "FailedJobs", message)
        assert world.report(name)["rootCause"]["exitCode"] == code
        assert read_number(workspace, "starts-0") == 3
        wait_no_containers(world, get_uid(world, name))


# Suspension


@on_podman
def test_a_node_that_had_succeeded_before_a_suspension_does_not_run_again(world: World) -> None:
    world.start()
    workspace = world.workspace("paused")
    (workspace / "go-0").touch()
    drop_counting_job(world, "paused", 2, HOLD_AT=5)
    wait_for(lambda: [node.get("state") for node in world.nodes("paused")] == ["succeeded", "running"], "node 0", 60)
    wait_holding(world, "paused", 1)
    assert world.trainlet("suspend", "paused").returncode == 0
    world.wait_phase("paused", "Suspended")
    world.wait_running("paused", 0)
    wait_for(lambda: get_counters(world, "paused") == {"suspended": 1}, "the Job to be suspended", 30)
    assert world.trainlet("resume", "paused").returncode == 0
    assert [container.name for container in wait_holding(world, "paused", 1)] == ["paused-node-1"]
    (workspace / "go").touch()
    assert_completes(world, "paused")
    assert [read_number(workspace, f"starts-{rank}") for rank in range(2)] == [1, 2]
    conditions = world.job("paused")["status"]["conditions"]
    assert [(c["type"], c["status"], c["reason"]) for c in conditions] == [
        ("Suspended", "False", "Resumed"),
        ("Complete", "True", "AllJobsCompleted"),
    ]
    world.wait_gone(get_uid(world, "paused"))


# Deadlines


@on_rootless_podman
def test_deadlines_of_a_job_and_of_its_batch_job_end_it(world: World) -> None:
    world.start()
    drop_counting_job(world, "late", 2, spec={"activeDeadlineSeconds": 4}, HOLD_AT=5)
    drop_counting_job(world, "slow", 1, "deadline", HOLD_AT=5)
    for name in ("late", "slow"):
        assert world.wait_phase(name, "Failed", "Complete", "Rejected")["phase"] == "Failed"
        world.wait_gone(get_uid(world, name))
    assert get_end(world, "late") == ("Failed", "DeadlineExceeded", "TrainJob exceeded its active deadline")
    message = "jobset failed due to one or more job failures (first failed job: slow-node-0)"
    assert get_end(world, "slow") == ("Failed", "FailedJobs", message)


# Ends


@on_docker
def test_after_its_time_all_of_a_finished_job_goes_but_the_job(world: World) -> None:
    world.start("--no-auto-remove")
    drop_counting_job(world, "brief", 1, "short-lived")
    assert_completes(world, "brief")
    uid, status = get_uid(world, "brief"), world.job("brief")["status"]
    seen = world.observe(uid)
    assert [len(each) for each in (seen.containers, seen.networks, seen.volumes)] == [1, 1, 1]
    world.wait_gone(uid)
    wait_for(lambda: not (world.status.root / "default" / "brief" / "jobset.yaml").exists(), "the JobSet to go", 30)
    # A later file shows that the operator has looked again and again, and did not begin anew.
    drop_counting_job(world, "barrier", 1)
    assert_completes(world, "barrier")
    assert (get_uid(world, "brief"), world.job("brief")["status"]) == (uid, status)
    assert world.report("brief")["phase"] == "Complete"
    assert world.log_of("brief", "node-0").count("start 1 from 0") == 1
    assert world.observe(uid).containers == ()


@on_docker
def test_a_success_policy_ends_those_who_still_run(world: World) -> None:
    world.start()
    workspace = drop_counting_job(world, "trial", 2, "judged", HOLD_AT=5)
    wait_for(lambda: len(world.running("trial")) == 4, "two nodes and two judges", 60)
    (workspace / "enough-1").touch()
    assert_completes(world, "trial")
    assert get_counters(world, "trial", "judge") == {"succeeded": 1}
    assert get_counters(world, "trial", "node") == {}
    world.wait_gone(get_uid(world, "trial"))


@on_podman
def test_followers_start_when_their_leader_listens(world: World) -> None:
    world.start()
    workspace = drop_counting_job(world, "ordered", 2, "in-order", HOLD_AT=5)
    world.wait_running("ordered", 1)
    wait_for(lambda: get_counters(world, "ordered", "leader") == {"active": 1}, "the leader to be active", 30)
    assert [container.name for container in world.observe(get_uid(world, "ordered")).containers] == ["ordered-leader-0"]
    assert get_counters(world, "ordered") == {}
    (workspace / "listen").touch()
    wait_for(
        lambda: get_counters(world, "ordered", "leader") == {"active": 1, "ready": 1}, "the leader to be ready", 30
    )
    wait_for(lambda: len(world.running("ordered")) == 3, "the leader and two followers", 60)
    (workspace / "go").touch()
    assert_completes(world, "ordered")


@on_docker
def test_a_job_without_nodes_is_complete_and_nothing_is_made(world: World) -> None:
    world.start()
    world.drop(build_train_job("nobody", 0, ["python3", "-c", "print('never')"]))
    assert_completes(world, "nobody")
    assert get_counters(world, "nobody") == {"succeeded": 1}
    assert world.owned() == 0
    log = world.log.read_text()
    assert not any(action in log for action in ("CreateContainer", "CreateNetwork", "CreateVolume"))
