"""The engine goes away and comes back while a job runs: nothing is lost, and that is no failure of the job."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import KINDS, get_url
from trainlet.kube.errors import EngineError
from waiting import wait_for
from world import PYTHON_IMAGE, World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

WAIT_FOR_GO = "import os, time\nwhile not os.path.exists('/workspace/go'): time.sleep(0.05)"


class Daemon:
    """An engine of the test's own, which it may end as it likes."""

    def __init__(self, name: str, command: list[str], url: str, directory: Path) -> None:
        self.kind, self.command, self.url = KINDS[name], command, url
        self.log = directory / "engine.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the engine and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
        wait_for(self.answers, f"{self.command[0]} to answer, see {self.log}", 60)

    def end(self, number: signal.Signals) -> None:
        """Send the engine this signal and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def answers(self) -> bool:
        """Tell whether the engine answers."""
        command = [self.kind.runtime, "--host" if self.kind.runtime == "docker" else "--url", self.url, "info"]
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: a socket's must be below 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="trainlet-f-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def podman(directory: Path) -> Iterator[Daemon]:
    """A Podman service of its own on the storage of the one that is there."""
    get_url(KINDS["podman"])
    url = f"unix://{directory}/podman.sock"
    daemon = Daemon("podman", ["podman", "system", "service", "--time=0", url], url, directory)
    yield daemon
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.end(signal.SIGTERM)


@pytest.fixture
def docker(directory: Path) -> Iterator[Daemon]:
    """A Docker daemon of its own, in a network of its own: told to have no bridge, it removes the one that is there."""
    source = get_url(KINDS["docker"])
    url = f"unix://{directory}/docker.sock"
    places = [f"--{name}={directory}/{name}" for name in ("data-root", "exec-root", "pidfile")]
    daemon = Daemon(
        "docker",
        ["unshare", "--net", "dockerd", f"--host={url}", *places, "--bridge=none", "--iptables=false"],
        url,
        directory,
    )
    daemon.start()
    copy = f"docker --host {source} save {PYTHON_IMAGE} | docker --host {url} load"
    subprocess.run(["bash", "-o", "pipefail", "-c", copy], check=True, capture_output=True, timeout=120)
    yield daemon
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.end(signal.SIGTERM)


def start_job(daemon: Daemon, directory: Path) -> World:
    """Return a world on this engine with a job that runs until it may go."""
    world = World(daemon.kind, directory / "world", daemon.url)
    world.workspace("job")
    world.start()
    world.drop(build_train_job("job", 1, ["python3", "-c", WAIT_FOR_GO]))
    world.wait_phase("job", "Running")
    return world


def await_loss(world: World) -> None:
    """Wait until the status tells that nothing is known of the job."""

    def told() -> bool:
        return any(c["reason"] == "EngineUnavailable" for c in world.report("job")["conditions"])

    wait_for(told, "the report to say that the engine is away", 30)


def finish(world: World) -> None:
    """Let the job end, check that nothing was counted against it, and clean up."""
    try:
        (world.workspace("job") / "go").touch()
        assert world.wait_phase("job", "Complete", "Failed")["phase"] == "Complete", world.describe("job")
        assert world.nodes("job")[0]["failures"] == "0 of 6", world.describe("job")
        world.wait_gone(world.job("job")["metadata"]["uid"])
    finally:
        world.close()


def test_a_podman_service_that_is_killed_takes_nothing_along(podman: Daemon, directory: Path) -> None:
    podman.start()
    (directory / "world").mkdir()
    world = start_job(podman, directory)
    [before] = world.running("job")
    podman.end(signal.SIGKILL)
    await_loss(world)
    podman.start()
    wait_for(lambda: _running_ids(world) == [before.id], "the same container to run on", 30)
    finish(world)
    assert world.report("job")["restarts"] == 0


def test_nodes_that_a_docker_daemon_ends_are_started_again(docker: Daemon, directory: Path) -> None:
    (directory / "world").mkdir()
    world = start_job(docker, directory)
    [before] = world.running("job")
    docker.end(signal.SIGTERM)
    await_loss(world)
    docker.start()
    wait_for(lambda: _running_ids(world) not in ([], [before.id]), "another container to run", 60)
    finish(world)
    assert world.report("job")["restarts"] == 1


def _running_ids(world: World) -> list[str]:
    try:
        return [container.id for container in world.running("job")]
    except EngineError:
        return []
