"""Very many jobs, containers and networks: all of them come to their end, and nothing is left of them.

In CI so many that what leaks once a job is seen; with TRAINLET_SOAK=1 as many as are promised.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from trainlet.controller.subnets import SubnetAllocator
from trainlet.documents import skim_index
from trainlet.planning import labels
from trainlet.planning.observed import Observed
from trainlet.planning.specs import NetworkSpec
from waiting import wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

SOAK = os.environ.get("TRAINLET_SOAK") == "1"
FAIL = ["python3", "-c", "raise SystemExit(3)"]
RUNTIME = Path(__file__).parents[2] / "manifests" / "runtimes" / "torch-distributed.yaml"
SLEEP = ["python3", "-c", "import time; time.sleep(3600)"]
#: What a program may have more at the end than after its first jobs: connections come and go.
FEW = 4


def pick(short: int, long: int) -> int:
    """Return how many: in CI, and with time."""
    return long if SOAK else short


def count_open(operator: int) -> tuple[int, int]:
    """Return a program's descriptors and threads."""
    descriptors, threads = (list(Path(f"/proc/{operator}/{each}").iterdir()) for each in ("fd", "task"))
    return len(descriptors), len(threads)


def start(world: World) -> int:
    """Start the operator on a directory with a runtime whose nodes fail for good; return its process id."""
    runtime = yaml.safe_load(RUNTIME.read_text(encoding="utf-8"))
    runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["backoffLimit"] = 0
    world.drop(runtime, file="runtime.yaml")
    return world.start("--deletion-grace", "0s").pid


def drop(world: World, name: str, command: list[str], nodes: int = 1) -> None:
    """Write a job."""
    world.drop(build_train_job(name, nodes, command))


def live_and_die(world: World, names: list[str]) -> None:
    """Let jobs fail, all at once, and delete them."""
    for name in names:
        drop(world, name, FAIL)
    for name in names:
        world.wait_phase(name, "Failed")
    for name in names:
        (world.jobs / f"{name}.yaml").unlink()
    wait_for(lambda: not any(map(world.job, names)), "all jobs to be forgotten", 120)


@pytest.mark.parametrize("world", ["process", "docker", "podman"], indirect=True)
def test_jobs_that_come_fail_and_go_leave_nothing(world: World) -> None:
    at_once = pick(6, 10)
    operator = start(world)
    live_and_die(world, [f"first-{number}" for number in range(at_once)])
    wait_for(lambda: world.owned() == 0, "the first to be gone", 60)
    (descriptors, threads), files = count_open(operator), list_files(world.base)
    rounds = pick(2, 100) if world.kind.runtime == "process" else pick(1, 100)
    for number in range(rounds):
        live_and_die(world, [f"job-{number}-{each}" for each in range(at_once)])
    wait_for(lambda: world.owned() == 0, "all to be gone", 60)
    wait_for(lambda: count_open(operator)[0] <= descriptors + FEW, "its descriptors to be closed", 60)
    assert count_open(operator)[1] <= threads + FEW
    assert list_files(world.base) - files == set()


def list_files(root: Path) -> set[Path]:
    """Return all files of a directory but those in workspaces, which stay, and the one index of finished jobs."""
    kept = {root / "jobs" / "status" / skim_index.FILE}
    files = {path for path in root.rglob("*") if path.is_file() and (root / "jobs" / "workspaces") not in path.parents}
    return files - kept


@pytest.mark.parametrize("world", ["docker", "podman"], indirect=True)
def test_many_containers_live_at_once(world: World) -> None:
    jobs, nodes = pick(3, 25), 4
    start(world)
    names = [f"wide-{number}" for number in range(jobs)]
    for name in names:
        drop(world, name, SLEEP, nodes)
    for name in names:
        world.wait_phase(name, "Running", timeout_seconds=300)
    uids = [str(world.job(name)["metadata"]["uid"]) for name in names]
    assert sum(len(world.running(name)) for name in names) == jobs * nodes
    for name in names:
        (world.jobs / f"{name}.yaml").unlink()
    for uid in uids:
        wait_for(lambda uid=uid: world.observe(uid) == Observed(), f"nothing left of {uid}", 300)  # type: ignore[misc]


@pytest.mark.parametrize("world", ["process"], indirect=True)
def test_many_jobs_at_once(world: World) -> None:
    names = [f"queued-{number:04}" for number in range(pick(30, 1000))]
    for name in names:
        drop(world, name, ["python3", "-c", "pass"])
    start(world)
    for name in names:
        world.wait_phase(name, "Complete", timeout_seconds=600)
    wait_for(lambda: world.owned() == 0, "all to be gone", 300)


@pytest.mark.parametrize("world", ["docker", "podman"], indirect=True)
def test_many_networks_have_subnets_of_their_own(world: World) -> None:
    allocator = SubnetAllocator(world.engine, world.kind.pool)
    marks = {labels.OWNER_UID: f"load-{os.getpid()}", labels.STORE: "load", labels.NAMESPACE: "default"}
    specs = [NetworkSpec(f"load-{number}-net", 1, marks, "") for number in range(pick(12, 500))]
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(allocator.create_network, specs))
        made = world.observe(marks[labels.OWNER_UID]).networks
        assert len({network.subnet for network in made}) == len(specs)
    finally:
        with ThreadPoolExecutor(4) as pool:
            found = world.observe(marks[labels.OWNER_UID]).networks
            list(pool.map(world.engine.remove_network, [network.id for network in found]))
    assert world.observe(marks[labels.OWNER_UID]) == Observed()
