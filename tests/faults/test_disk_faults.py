"""The status directory's disk is full, read-only or emptied, the engine's storage is lost, a second operator comes.

TRAINLET_SOAK=1 adds Podman to where it is tried.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import KINDS
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ObservedContainer
from waiting import running, wait_for
from world import World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

#: Writes down that it began; runs until it may go.
NODE = """
import os, sys, time
with open(f"{sys.argv[1]}/starts", "a") as starts:
    starts.write("x")
while not os.path.exists(f"{sys.argv[1]}/go"):
    time.sleep(0.05)
"""


#: Podman's way is Docker's here.
ENGINES = ["process", "docker", *(["podman", "podman-rootless"] if os.environ.get("TRAINLET_SOAK") == "1" else [])]


class Disk:
    """A small file system of its own, which the status directory is on."""

    def __init__(self, place: Path) -> None:
        self._place = place
        place.mkdir()
        self._mount("-t", "tmpfs", "-o", "size=2m", "tmpfs")

    def fill(self) -> None:
        """Leave no room for another byte."""
        with contextlib.suppress(OSError), (self._place / ".ballast").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def empty(self) -> None:
        """Give the room back."""
        (self._place / ".ballast").unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nothing be written by its path; what is open stays so, which would forbid to mount it anew."""
        self._mount("--bind", str(self._place))
        self._mount("-o", "remount,bind,ro")
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        """Take it away, or what is mounted over it."""
        subprocess.run(["umount", "--lazy", str(self._place)], check=True, timeout=10)

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(self._place)], check=True, timeout=10)


@contextmanager
def open_world(kind: str) -> Iterator[World]:
    """Open a world; what runs in it may enter it."""
    with tempfile.TemporaryDirectory(prefix="trainlet-f-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        world = World(KINDS[kind], Path(directory))
        try:
            yield world
        finally:
            world.close()


@pytest.fixture
def world() -> Iterator[World]:
    """Plain processes: it is not of the engine what becomes of the disk."""
    with open_world("process") as world:
        yield world


@pytest.fixture
def disk(world: World) -> Iterator[Disk]:
    """The disk of the world's status directory."""
    disk = Disk(world.status.root)
    yield disk
    disk.close()


def start_operator(world: World) -> None:
    """Start the operator and wait until it follows the directory."""
    begun = count_lines(world, "watching")
    world.start("--restart-backoff", "100ms")
    wait_for(lambda: count_lines(world, "watching") > begun, "the operator to begin", 20)


def count_lines(world: World, words: str) -> int:
    """Return how many lines of the operator's log have these words."""
    return world.log.read_text(encoding="utf-8").count(words) if world.log.exists() else 0


def drop(world: World, name: str, nodes: int = 1) -> None:
    """Write a job that runs until it may go."""
    world.workspace(name)
    world.drop(build_train_job(name, nodes, ["python3", "-c", NODE, "/workspace"]))


def run(world: World, name: str, nodes: int = 1) -> list[ObservedContainer]:
    """Let a job run."""
    drop(world, name, nodes)
    world.wait_phase(name, "Running")
    wait_for(lambda: (world.workspace(name) / "starts").exists(), "the first node to begin", 30)
    wait_for(lambda: (world.workspace(name) / "starts").read_text() == "x" * nodes, "all nodes to begin", 30)
    return world.running(name)


def finish(world: World, name: str, starts: int = 1) -> JSON:
    """Let a job end; check that it did its work, was begun so often, and left nothing on the engine."""
    (world.workspace(name) / "go").touch()
    report = world.wait_phase(name, "Complete", "Failed")
    assert report["phase"] == "Complete", world.describe(name)
    assert (world.workspace(name) / "starts").read_text() == "x" * starts
    world.wait_gone(world.job(name)["metadata"]["uid"])
    return report


def test_jobs_wait_for_a_disk_that_is_full_and_go_on_when_it_is_not(world: World, disk: Disk) -> None:
    start_operator(world)
    [before] = run(world, "early")
    disk.fill()
    (world.workspace("early") / "go").touch()
    drop(world, "late")
    wait_for(lambda: count_lines(world, "No space left on device") >= 2, "the operator to say so", 20)
    assert world.report("early")["phase"] == "Running", "that is what is written down"
    world.kill()
    disk.empty()
    start_operator(world)
    world.wait_phase("late", "Running")
    assert finish(world, "early")["restarts"] == 0
    assert finish(world, "late")["restarts"] == 0
    assert before.id not in {container.id for container in world.running("early")}
    world.check_log()


def test_an_operator_does_not_begin_on_a_disk_that_it_cannot_write(world: World, disk: Disk) -> None:
    start_operator(world)
    [before] = run(world, "job")
    world.kill()
    with disk.read_only():
        assert world.start().wait(20) == 4
        assert "error: cannot write status documents: Read-only file system" in world.log.read_text(encoding="utf-8")
        assert [each.id for each in world.running("job")] == [before.id]
    start_operator(world)
    finish(world, "job")
    world.check_log()


def test_a_disk_that_is_read_only_for_a_while_holds_jobs_up(world: World, disk: Disk) -> None:
    start_operator(world)
    run(world, "early")
    with disk.read_only():
        drop(world, "late")
        assert world.trainlet("suspend", "early").returncode == 0
        wait_for(lambda: count_lines(world, "Read-only file system") >= 2, "the operator to say so", 20)
    world.wait_phase("early", "Suspended")
    world.wait_running("early", 0)
    assert world.trainlet("resume", "early").returncode == 0
    world.wait_phase("early", "Running")
    assert finish(world, "early", starts=2)["nodes"][0]["failures"] == "0 of 6"
    finish(world, "late")
    world.check_log()


def test_status_documents_that_are_removed_are_written_again(world: World) -> None:
    start_operator(world)
    [before] = run(world, "job")
    run(world, "done")
    finish(world, "done")
    uid, done = world.job("job")["metadata"]["uid"], world.job("done")
    wait_for(lambda: not world.observe(done["metadata"]["uid"]).containers, "the other to be cleared away", 30)
    world.status.root.rename(world.base / "lost")  # in one step: the operator writes on
    wait_for(lambda: world.job("done") == done, "the document of the finished job", 60)
    world.kill()
    start_operator(world)
    assert [each.id for each in world.observe(uid).containers] == [before.id]
    assert finish(world, "job")["restarts"] == 0
    assert world.job("job")["metadata"]["uid"] == uid
    assert world.job("done") == done
    assert (world.workspace("done") / "starts").read_text() == "x"
    world.check_log()


@pytest.mark.parametrize("engine", ENGINES)
def test_jobs_are_built_again_on_an_engine_whose_storage_is_lost(engine: str) -> None:
    with open_world(engine) as world:
        start_operator(world)
        run(world, "job", nodes=2)
        run(world, "done")
        uid = world.job("job")["metadata"]["uid"]
        finish(world, "done")
        world.kill()
        wipe(world, uid)
        start_operator(world)
        world.wait_running("job", 2)
        report = finish(world, "job", starts=4)
        assert [(node["restarts"], node["failures"]) for node in report["nodes"]] == [(1, "0 of 6")] * 2
        assert (world.workspace("done") / "starts").read_text() == "x"
        world.check_log()


def wipe(world: World, uid: str) -> None:
    """Remove all that the engine has of a job."""
    if world.kind.runtime == "process":
        for container in world.observe(uid).containers:
            world.engine.kill_container(container.id)
        shutil.rmtree(world.base / "state")
        return
    seen = world.observe(uid)
    for container in seen.containers:
        world.engine.remove_container(container.id)
    for network in seen.networks:
        world.engine.remove_network(network.id)
    assert not world.observe(uid).containers


def test_nodes_of_another_boot_are_started_again_and_who_has_their_numbers_is_left_alone(world: World) -> None:
    start_operator(world)
    [before] = run(world, "job")
    world.kill()
    path = world.base / "state" / "trainlet" / "processes" / "containers" / before.name / "state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    for process in ("supervisor", "leader"):
        os.kill(state[process]["pid"], signal.SIGKILL)
    with running(["sleep", "60"]) as other:
        for process in ("supervisor", "leader"):
            state[process] = {"pid": other.pid, "start": "another-boot/1"}
        path.write_text(json.dumps(state), encoding="utf-8")
        start_operator(world)
        wait_for(lambda: before.id not in [each.id for each in world.running("job")] != [], "another node", 20)
        report = finish(world, "job", starts=2)
        assert [(node["restarts"], node["failures"]) for node in report["nodes"]] == [(1, "0 of 6")]
        assert other.poll() is None
    world.check_log()


# Two operators


def test_a_directory_has_one_operator_whatever_path_leads_to_it(world: World) -> None:
    start_operator(world)
    run(world, "job")
    link = world.base / "link"
    link.symlink_to(world.jobs)
    others = [[str(link)], [str(world.jobs), "--status-dir", str(world.base / "status")]]
    for flags in others:
        second = world.trainlet("run", *flags, *world.engine_flags())
        assert second.returncode == 4
        assert "error: another trainlet works on this directory (process " in second.stderr
        assert "stop it first" in second.stderr
    shutil.rmtree(world.status.root)
    assert world.trainlet("run", str(world.jobs), *world.engine_flags()).returncode == 4
    finish(world, "job")


@pytest.mark.parametrize("engine", ENGINES)
def test_two_directories_on_one_engine_do_not_touch_each_other(engine: str) -> None:
    with open_world(engine) as first, open_world(engine) as second:
        second.engine.close()
        second.base, second_base = first.base, second.base  # both on the same engine, also if that is a directory
        second.engine = first.engine
        start_operator(first)
        [before] = run(first, "job")
        start_operator(second)
        drop(second, "job")
        told = "another job" if engine == "process" else "of another directory"
        wait_for(lambda: told in str(second.nodes("job")), "the second to say that the name is taken", 30)
        run(second, "other")
        assert [each.id for each in first.running("job")] == [before.id]
        assert second.trainlet("delete", "tj", "job").returncode == 0
        finish(second, "other")
        assert [each.id for each in first.running("job")] == [before.id]
        finish(first, "job")
        second.base = second_base
