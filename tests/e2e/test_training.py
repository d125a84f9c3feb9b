"""Real PyTorch, real data, real engines: a dropped file trains."""

import re
import shutil
from pathlib import Path

import pytest

from trainlet.kube.meta import JSON
from trainlet.planning.observed import ObservedContainer
from waiting import wait_for
from world import TORCH_IMAGE, World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

PROGRAM = Path(__file__).parent / "programs" / "ddp_digits.py"
LAUNCHERS = {"torchrun": ["torchrun", "/workspace/train.py"], "python": ["python3", "/workspace/train.py"]}
RESULT = re.compile(r"rank (\d+) of (\d+) accuracy (\S+) weights (\S+)")


def drop_training(world: World, name: str, nodes: int, launcher: str, *, epochs: int = 12) -> JSON:
    """Drop a training job with its script in its workspace."""
    shutil.copy(PROGRAM, world.workspace(name) / "train.py")
    trainer = {"image": TORCH_IMAGE, "env": [{"name": "EPOCHS", "value": str(epochs)}]}
    job = build_train_job(name, nodes, LAUNCHERS[launcher], trainer=trainer)
    world.drop(job)
    return job


def read_results(world: World, name: str, nodes: int) -> list[tuple[str, ...]]:
    """Return rank, world size, accuracy and weights as every node printed them."""
    found = [RESULT.findall(world.log_of(name, f"node-{rank}")) for rank in range(nodes)]
    return [match for matches in found for match in matches]


def assert_trained(world: World, name: str, nodes: int) -> None:
    """Check that the job is complete, learned, and left every rank with the same weights."""
    assert world.job(name)["status"]["conditions"] == [
        {
            "type": "Complete",
            "status": "True",
            "reason": "AllJobsCompleted",
            "message": "jobset completed successfully",
            "lastTransitionTime": world.job(name)["status"]["conditions"][0]["lastTransitionTime"],
        }
    ]
    world.wait_gone(world.job(name)["metadata"]["uid"])  # by then every log is kept, also that of a last attempt
    results = read_results(world, name, nodes)
    assert sorted(rank for rank, *_ in results) == [str(rank) for rank in range(nodes)]
    assert {size for _, size, *_ in results} == {str(nodes)}
    assert all(float(accuracy) > 0.9 for _, _, accuracy, _ in results)
    assert len({weights for *_, weights in results}) == 1


@pytest.mark.parametrize(("nodes", "launcher"), [(2, "torchrun"), pytest.param(4, "python", marks=pytest.mark.soak)])
def test_a_dropped_file_trains(world: World, nodes: int, launcher: str) -> None:
    world.start()
    drop_training(world, "digits", nodes, launcher)
    world.wait_phase("digits", "Complete", "Failed", timeout_seconds=180)
    assert_trained(world, "digits", nodes)
    assert world.job("digits")["status"]["jobsStatus"] == [
        {"name": "node", "ready": 0, "succeeded": 1, "failed": 0, "active": 0, "suspended": 0}
    ]
    world.wait_gone(world.job("digits")["metadata"]["uid"])


def wait_training(world: World, name: str) -> ObservedContainer:
    """Wait until the job is in its second epoch and return the node of rank 0."""
    first, second = world.wait_running(name, 2)
    wait_for(lambda: any("epoch 2/" in line.text for line in world.engine.read_logs(second.id)), "training", 60)
    return first


@pytest.mark.parametrize("world", ["podman"], indirect=True)
def test_a_crash_of_the_operator_does_not_disturb_training(world: World) -> None:
    world.start()
    drop_training(world, "digits", 2, "torchrun", epochs=40)
    wait_training(world, "digits")
    world.kill()
    world.start()
    report = world.wait_phase("digits", "Complete", "Failed", timeout_seconds=180)
    assert_trained(world, "digits", 2)
    assert report["restarts"] == 0


@pytest.mark.parametrize("world", ["docker"], indirect=True)
def test_a_killed_node_is_restarted_and_the_job_still_trains(world: World) -> None:
    """It is rank 0: another that is back before the torchrun of rank 0 has ended meets a rendezvous of the past."""
    world.start()
    drop_training(world, "digits", 2, "torchrun", epochs=60)
    victim = wait_training(world, "digits")
    world.client("kill", victim.name)
    report = world.wait_phase("digits", "Complete", "Failed", timeout_seconds=240)
    assert_trained(world, "digits", 2)
    assert report["restarts"] >= 1
    assert "exit code 137" in world.trainlet("events").stdout
