"""An operator is killed at some point of a job's life, on real engines: the job goes on as if nothing had been.

Where it is killed is drawn evenly from all the points of the life, see mortal.py. TRAINLET_SOAK=1 draws many more.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import KINDS
from trainlet.planning.observed import Observed, ObservedContainer
from waiting import wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

SOAK = os.environ.get("TRAINLET_SOAK") == "1"
MORTAL = str(Path(__file__).with_name("mortal.py"))
#: Tells of its start and of another one of its rank; runs until it may go, or may fail for the first time.
NODE = """
import fcntl, os, sys, time
rank, place = os.environ["PET_NODE_RANK"], sys.argv[1]
with open(f"{place}/starts", "a") as starts:
    starts.write(rank)
mine = open(f"{place}/rank-{rank}", "a")
try:
    fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open(f"{place}/doubled", "a").close()
while not os.path.exists(f"{place}/go"):
    if rank == "0" and os.path.exists(f"{place}/fail"):
        os.rename(f"{place}/fail", f"{place}/failed")
        sys.exit(3)
    time.sleep(0.05)
"""
#: How many points such a life has at least; calls that wait for something make it more.
POINTS = {"process": 190, "docker": 240, "podman": 200, "podman-rootless": 200}
#: How many of them are tried.
TRIED = {name: 40 if SOAK else few for name, few in (("process", 3), ("docker", 1), ("podman", 1))}
TRIED |= {"podman-rootless": 40} if SOAK else {}
DRAWN = [
    (name, POINTS[name] * (2 * number + 1) // (2 * many)) for name, many in TRIED.items() for number in range(many)
]


@contextmanager
def open_world(name: str) -> Iterator[World]:
    """Open a world; what runs in it may enter it."""
    with tempfile.TemporaryDirectory(prefix="trainlet-f-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        world = World(KINDS[name], Path(directory))
        try:
            yield world
        finally:
            world.close()


def live(world: World, last: int) -> None:
    """Let a job start, fail once, be suspended, resumed, end and be deleted, with one operator's death meanwhile."""
    workspace = world.workspace("job")
    prefix = [sys.executable, MORTAL, str(world.base), str(last)]
    world.start("--restart-backoff", "100ms", prefix=prefix)
    job = world.drop(build_train_job("job", 2, ["python3", "-c", NODE, "/workspace"]))
    first, other = await_running(world, [(0, "0 of 6"), (0, "0 of 6")])
    (workspace / "fail").touch()
    again, same = await_running(world, [(1, "1 of 6"), (0, "0 of 6")])
    assert again.id != first.id
    assert same.id == other.id, "node 1 had no part in it"
    assert world.trainlet("suspend", "job").returncode == 0
    world.wait_phase("job", "Suspended")
    world.wait_running("job", 0)
    assert world.trainlet("resume", "job").returncode == 0
    await_running(world, [(2, "1 of 6"), (1, "0 of 6")])
    (workspace / "go").touch()
    report = world.wait_phase("job", "Complete", "Failed")
    assert (report["phase"], [node["failures"] for node in report["nodes"]]) == ("Complete", ["1 of 6", "0 of 6"])
    assert sorted((workspace / "starts").read_text()) == [*"00011"]
    assert not (workspace / "doubled").exists()
    uid = world.job("job")["metadata"]["uid"]
    world.wait_gone(uid)
    job.unlink()
    wait_for(lambda: not world.status.has_job("default", "job"), "the job to be forgotten", 30)
    assert world.observe(uid) == Observed()
    assert world.stop() == 0


def await_running(world: World, counts: list[tuple[int, str]]) -> list[ObservedContainer]:
    """Wait until both nodes run with this many restarts and failures, are said to, and have told of every start."""
    starts = world.workspace("job") / "starts"
    expected = "".join(str(rank) * (restarts + 1) for rank, (restarts, _) in enumerate(counts))

    def told() -> bool:
        nodes, phase = world.nodes("job"), world.report("job").get("phase")
        return phase == "Running" and [(node["restarts"], node["failures"]) for node in nodes] == counts

    def begun() -> bool:
        return starts.exists() and sorted(starts.read_text()) == [*expected]

    wait_for(told, f"the report to say {counts}, not {world.describe('job')}", 60)
    running = world.wait_running("job", 2)
    wait_for(begun, f"programs to have begun as {expected}", 60)
    return running


@pytest.mark.parametrize(("engine", "last"), DRAWN, ids=[f"{name}-{last}" for name, last in DRAWN])
def test_a_job_lives_on_when_its_operator_is_killed(engine: str, last: int) -> None:
    with open_world(engine) as world:
        live(world, last)
        number, _, point = (world.base / "points").read_text(encoding="utf-8").split("\n")[0].partition(" ")
        print(f"killed before {point}")
        assert int(number) == last, "nobody was killed"
        world.check_log()
        assert not [*world.base.rglob("*.tmp")]
