"""Whatever breaks while a job runs, things end where the files say."""

import os

import pytest

from trainlet.planning.observed import Observed
from waiting import wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

#: Runs until /workspace/go is there; ends at SIGTERM like any Python program.
WAIT_FOR_GO = "import os, time\nwhile not os.path.exists('/workspace/go'): time.sleep(0.05)\nprint('went')"
COMMAND = ["python3", "-u", "-c", WAIT_FOR_GO]


def drop_waiting_job(world: World, name: str = "job", nodes: int = 2, namespace: str = "default") -> str:
    """Drop a job that runs until `go` and return its uid once all its nodes run."""
    world.workspace(name, namespace)
    world.drop(build_train_job(name, nodes, COMMAND, namespace), file=f"{namespace}/{name}.yaml")
    world.wait_phase(name, "Running", namespace=namespace)
    return str(world.job(name, namespace)["metadata"]["uid"])


def go(world: World, name: str = "job", namespace: str = "default") -> None:
    """Let the job end."""
    (world.workspace(name, namespace) / "go").touch()


def assert_completes(world: World, name: str = "job", namespace: str = "default") -> None:
    """Let the job end and check that it does well and leaves nothing."""
    go(world, name, namespace)
    report = world.wait_phase(name, "Complete", "Failed", namespace=namespace)
    assert report["phase"] == "Complete", world.describe(name, namespace)
    world.wait_gone(world.job(name, namespace)["metadata"]["uid"])


def test_a_crash_of_the_operator_leaves_running_nodes_alone(world: World) -> None:
    world.start()
    uid = drop_waiting_job(world)
    before = world.observe(uid)
    world.kill()
    world.start()
    wait_for(lambda: world.log.read_text().count("watching") == 2, "the second operator")
    assert_same_containers(world, uid, before)
    assert_completes(world)
    assert world.report("job")["restarts"] == 0


def assert_same_containers(world: World, uid: str, before: Observed) -> None:
    """Check that the very same containers run on."""
    assert {c.id for c in world.observe(uid).containers} == {c.id for c in before.containers}
    assert {c.state for c in world.observe(uid).containers} == {"running"}


def test_a_crash_during_the_start_of_a_job_is_made_good(world: World) -> None:
    world.start()
    world.workspace("job")
    world.drop(build_train_job("job", 4, COMMAND))
    wait_for(lambda: "CreateContainer" in world.log.read_text(), "the first container to be made")
    world.kill()
    world.start()
    world.wait_running("job", 4)
    assert_completes(world)


def test_a_job_that_ends_while_the_operator_is_away_is_complete(world: World) -> None:
    world.start()
    uid = drop_waiting_job(world)
    world.kill()
    go(world)
    wait_for(lambda: not world.running("job"), "both nodes to end")
    world.start()
    assert world.wait_phase("job", "Complete", "Failed")["phase"] == "Complete"
    assert "went" in world.log_of("job", "node-1")
    world.wait_gone(uid)


def test_a_container_removed_by_hand_comes_back(world: World) -> None:
    world.start()
    uid = drop_waiting_job(world)
    lost = world.running("job")[1]
    assert world.client("rm", "-f", lost.name).returncode == 0
    wait_for(lambda: lost.id not in {c.id for c in world.observe(uid).containers}, "the container to go")
    world.wait_running("job", 2)
    world.wait_phase("job", "Running")
    # Gone without a word, or seen for a moment as ended by the signal that the engine's client sends first.
    assert world.nodes("job")[1]["last"]["exitCode"] in (137, 143)
    assert world.nodes("job")[1]["restarts"] == 1
    assert_completes(world)


def test_a_network_removed_by_hand_comes_back_with_its_nodes(world: World) -> None:
    world.start()
    uid = drop_waiting_job(world)
    [network] = world.observe(uid).networks
    with world.paused():  # else the first node is in the network again before the last has left it
        for container in world.running("job"):
            world.client("network", "disconnect", "-f", network.name, container.name)
        removed = world.client("network", "rm", *(["-f"] if world.kind.runtime == "podman" else []), network.name)
    assert removed.returncode == 0, removed.stderr
    # Podman tells nobody of networks: it is seen by the next look at the job, half a minute later at most.
    wait_for(lambda: {n.id for n in world.observe(uid).networks} not in (set(), {network.id}), "a new network", 60)
    wait_for(lambda: [c.networks for c in world.running("job")] == [frozenset({network.name})] * 2, "both nodes on it")
    assert_completes(world)


def test_a_deleted_file_takes_everything_of_its_job_along(world: World) -> None:
    world.start()
    uid = drop_waiting_job(world)
    (world.jobs / "default" / "job.yaml").unlink()
    world.wait_gone(uid)
    wait_for(lambda: world.status.read_job("default", "job") is None, "the status document to go")
    assert not (world.status.root / "default" / "job").exists()
    assert world.owned() == 0


def test_a_file_deleted_while_the_operator_is_away_is_a_deletion(world: World) -> None:
    world.start()
    uid = drop_waiting_job(world)
    world.kill()
    (world.jobs / "default" / "job.yaml").unlink()
    world.start()
    world.wait_gone(uid)
    assert world.owned() == 0


def test_lost_status_documents_are_rebuilt_around_running_nodes(world: World) -> None:
    world.start()
    uid = drop_waiting_job(world)
    before = world.observe(uid)
    world.kill()
    for path in sorted(world.status.root.rglob("*.yaml")):
        path.unlink()
    world.start()
    world.wait_phase("job", "Running")
    assert world.job("job")["metadata"]["uid"] == uid
    assert_same_containers(world, uid, before)
    assert_completes(world)


def test_one_name_in_two_namespaces_is_two_jobs(world: World) -> None:
    world.start()
    first = drop_waiting_job(world, namespace="default")
    second = drop_waiting_job(world, namespace="team-b")
    assert [c.name for c in world.running("job")] == ["job-node-0", "job-node-1"]
    assert [c.name for c in world.running("job", "team-b")] == ["team-b.job-node-0", "team-b.job-node-1"]
    networks = [n for uid in (first, second) for n in world.observe(uid).networks]
    assert len({n.subnet for n in networks}) == 2
    assert_completes(world)
    assert len(world.running("job", "team-b")) == 2
    assert_completes(world, namespace="team-b")


def test_suspend_stops_the_nodes_and_resume_starts_them_again(world: World) -> None:
    world.start()
    drop_waiting_job(world)
    assert world.trainlet("suspend", "job").returncode == 0
    world.wait_phase("job", "Suspended")
    world.wait_running("job", 0)
    assert world.trainlet("resume", "job").returncode == 0
    world.wait_running("job", 2)
    assert_completes(world)
    assert [c["type"] for c in world.job("job")["status"]["conditions"]] == ["Suspended", "Complete"]
    assert world.nodes("job")[0]["failures"] == "0 of 6"


def test_a_job_that_always_fails_is_failed_after_its_attempts(world: World) -> None:
    world.start("--restart-backoff", "100ms")
    world.drop(build_train_job("bad", 1, ["python3", "-c", "raise SystemExit(3)"]))
    report = world.wait_phase("bad", "Failed", "Complete")
    [condition] = world.job("bad")["status"]["conditions"]
    assert condition["type"] == "Failed"
    assert condition["reason"] == "FailedJobs"
    assert condition["message"] == "jobset failed due to one or more job failures (first failed job: bad-node-0)"
    assert report["rootCause"]["node"] == "node-0"
    assert report["rootCause"]["exitCode"] == 3
    assert report["nodes"][0]["failures"] == "6 of 6"
    world.wait_gone(world.job("bad")["metadata"]["uid"])


def test_a_command_that_is_not_there_fails_the_job_and_says_so(world: World) -> None:
    world.start("--restart-backoff", "100ms")
    world.drop(build_train_job("typo", 1, ["pyhton3", "train.py"]))
    report = world.wait_phase("typo", "Failed", "Complete")
    assert report["rootCause"]["exitCode"] == 127
    assert "not found" in report["rootCause"]["message"]


def test_many_jobs_at_once(docker_world: World) -> None:
    docker_world.start()
    names = [f"many-{number}" for number in range(40 if os.environ.get("TRAINLET_SOAK") == "1" else 10)]
    for name in names:
        docker_world.drop(build_train_job(name, 2, ["python3", "-c", "print('done')"]))
    for name in names:
        report = docker_world.wait_phase(name, "Complete", "Failed", timeout_seconds=240)
        assert report["phase"] == "Complete", docker_world.describe(name)
    wait_for(lambda: docker_world.owned() == 0, "nothing left on the engine", 120)
