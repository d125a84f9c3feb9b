"""The usual troubles on real engines: what stands in the way is named with what to do about it, and then it works."""

import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import IMAGE
from trainlet.kube.meta import JSON
from waiting import wait_for
from world import TRAINLET, World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

DONE, NO, ENGINE = 0, 1, 3
COMMAND = ["python3", "-c", "print('well')"]


def diagnose(world: World, *flags: str) -> dict[str, list[JSON]]:
    """Return what doctor finds, by the names of its checks."""
    done = world.trainlet("doctor", "-o", "json", *(flags or world.engine_flags()))
    assert done.returncode in (DONE, NO), done.stderr
    found: dict[str, list[JSON]] = {}
    for each in json.loads(done.stdout):
        found.setdefault(each["check"], []).append(each)
    levels = {each["level"] for findings in found.values() for each in findings}
    assert done.returncode == (NO if "FAIL" in levels else DONE)
    return found


def problems(world: World, check: str, *flags: str) -> list[JSON]:
    """Return what a check finds that is not well."""
    return [each for each in diagnose(world, *flags)[check] if each["level"] != "ok"]


def test_an_engine_that_is_there_makes_no_check_fail(world: World) -> None:
    failed = [each for found in diagnose(world).values() for each in found if each["level"] == "FAIL"]
    assert failed == []


@contextmanager
def refusing(path: Path) -> Iterator[str]:
    """Make a socket on which nobody listens any more, as a daemon that was killed leaves it."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    yield f"unix://{path}"


@pytest.mark.parametrize(
    ("runtime", "remedy"), [("docker", "sudo systemctl start docker"), ("podman", "systemctl --user start podman")]
)
def test_a_daemon_that_does_not_run(process_world: World, runtime: str, remedy: str) -> None:
    with refusing(process_world.base / "dead.sock") as url:
        flags = ("--container-runtime", runtime, "--container-host", url)
        [engine], [sockets] = (problems(process_world, check, *flags) for check in ("engine", "sockets"))
        started = process_world.trainlet("run", str(process_world.jobs), *flags)
    assert (engine["level"], remedy in engine["remedy"]) == ("FAIL", True)
    assert sockets["message"] == f"{runtime} at {url}: nobody answers (connection refused)"
    assert remedy in sockets["remedy"]
    assert started.returncode == ENGINE
    assert "nobody answers (connection refused)" in started.stderr
    assert remedy in started.stderr
    assert "Traceback" not in started.stderr


def test_a_socket_that_is_not_there(process_world: World) -> None:
    url = f"unix://{process_world.base}/podman/podman.sock"
    flags = ("--container-runtime", "podman", "--container-host", url)
    [sockets] = problems(process_world, "sockets", *flags)
    assert sockets["message"] == f"no podman socket at {url}"
    assert "systemctl --user start podman.socket" in sockets["remedy"]


def as_nobody(world: World, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a verb as a user without rights, from source: the test's own directories are not for everybody."""
    user = pwd.getpwnam("nobody")
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "XDG_STATE_HOME": str(world.base / "nobodys")}
    return subprocess.run(
        ["setpriv", *ids, str(TRAINLET), "--dir", str(world.jobs), *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def rights() -> None:
    """Only root can become somebody else."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.fail("this test needs root and setpriv")


@pytest.mark.usefixtures("rights")
def test_a_socket_that_a_user_may_not_use(world: World) -> None:
    done = as_nobody(world, "doctor", "-o", "json", *world.engine_flags())
    assert done.returncode == NO, done.stderr
    found = [each for each in json.loads(done.stdout) if each["check"] == "sockets"]
    assert [each["message"] for each in found] == [
        f"{world.kind.runtime} at {world.url}: permission denied on the socket"
    ]
    wanted = {"docker": "sudo usermod -aG docker $USER", "podman": "systemctl --user start podman.socket"}
    assert wanted[world.kind.runtime] in found[0]["remedy"]
    started = as_nobody(world, "run", str(world.jobs), *world.engine_flags())
    assert started.returncode == ENGINE
    assert "permission denied on the socket" in started.stderr
    assert "Traceback" not in started.stderr


def test_a_gpu_that_no_container_can_have(world: World) -> None:
    [finding] = diagnose(world)["gpu"]
    if "no NVIDIA GPU" not in finding["message"]:
        pytest.fail("this test needs a machine without a GPU")
    limits = {"resourcesPerNode": {"limits": {"nvidia.com/gpu": 1}}}
    world.drop(build_train_job("greedy", 1, COMMAND, trainer=limits))
    world.start()
    words = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu"
    shown = wait_for(lambda: describe_with(world, words, "greedy"), "the job to be held", 30)
    assert "install the driver and the vendor's container toolkit" in shown
    assert world.report("greedy")["phase"] == "Pending"


@contextmanager
def foreign_network(world: World, name: str, *flags: str) -> Iterator[None]:
    """Make a network as a user does by hand."""
    subnet = world.kind.pool.replace("0.0/16", "7.0/29")
    made = world.client("network", "create", "--subnet", subnet, *flags, name)
    assert made.returncode == 0, made.stderr
    try:
        yield
    finally:
        world.client("network", "rm", name)


@pytest.mark.parametrize(
    ("flags", "whose"),
    [
        ((), "somebody else, no label tells whom"),
        (("--label", "com.docker.compose.project=shop"), "the Compose project shop"),
    ],
)
def test_a_network_of_the_jobs_name_that_is_not_ours(world: World, flags: Sequence[str], whose: str) -> None:
    remove = f"`{world.kind.runtime} network rm clash-net`"
    world.drop(build_train_job("clash", 1, COMMAND))
    with foreign_network(world, "clash-net", *flags):
        [finding] = problems(world, "name conflicts")
        assert finding["level"] == "FAIL"
        assert (
            f"the network clash-net that TrainJob default/clash needs exists and belongs to {whose}"
            == (finding["message"])
        )
        assert remove in finding["remedy"]
        world.start()
        shown = wait_for(lambda: describe_with(world, "clash-net exists and is not this job's"), "the conflict", 30)
        assert remove in shown
        assert f"it belongs to {whose}" in shown
    world.wait_phase("clash", "Complete")
    assert problems(world, "name conflicts") == []


def describe_with(world: World, words: str, name: str = "clash") -> str:
    """Return what describe says, once it says this; lines may be broken."""
    shown = " ".join(world.trainlet("describe", "trainjob", name).stdout.split())
    return shown if words in shown else ""


@contextmanager
def left_behind(world: World, name: str, **labels: str) -> Iterator[None]:
    """Make a container with labels of ours and a workspace, which nobody will start."""
    workspace = world.base / "gone" / "workspaces" / "default" / name
    workspace.mkdir(parents=True)
    flags = [
        word for key, value in labels.items() for word in ("--label", f"trainlet.dev/{key.replace('_', '-')}={value}")
    ]
    made = world.client("create", "--name", name, *flags, "-v", f"{workspace}:/workspace", IMAGE, "true")
    assert made.returncode == 0, made.stderr
    try:
        yield
    finally:
        world.client("rm", "-f", name)


def leftovers(world: World, word: str, *flags: str) -> list[JSON]:
    """Return what is told to be left that has to do with this; others use the engine too."""
    return [each for each in problems(world, "leftovers", *flags) if word in each["message"] + each["remedy"]]


def test_containers_of_a_directory_that_is_gone(world: World) -> None:
    store = f"feed{os.getpid()}"
    with left_behind(world, f"left-{world.base.name}", store=store, owner_uid="u1"):
        assert leftovers(world, store) == []
        shutil.rmtree(world.base / "gone")
        [finding] = leftovers(world, store)
        assert f"of jobs of {world.base}/gone/workspaces, which is gone, are left" in finding["message"]
        run_remedy(world, finding["remedy"])
        assert leftovers(world, store) == []


def run_remedy(world: World, remedy: str) -> None:
    """Do what a remedy says between its backquotes, on the engine of this world."""
    flag = {"docker": "--host", "podman": "--url"}[world.kind.runtime]
    command = remedy.split("`")[1].replace(f"{world.kind.runtime} ", f"{world.kind.runtime} {flag} {world.url} ")
    subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)


def test_what_is_left_of_a_finished_job(world: World) -> None:
    world.drop(build_train_job("done", 1, COMMAND))
    world.start("--no-auto-remove")
    world.wait_phase("done", "Complete")
    assert world.stop() == 0
    assert leftovers(world, "default/done", *world.engine_flags(), "--no-auto-remove") == []
    [finding] = leftovers(world, "default/done")
    assert finding["message"] == "containers or networks of default/done, which is finished, are left"
    run_remedy(world, finding["remedy"])
    assert leftovers(world, "default/done") == []


def test_what_is_left_of_a_job_that_is_forgotten(world: World) -> None:
    world.drop(build_train_job("lost", 1, ["python3", "-c", "import time; time.sleep(600)"]))
    world.start()
    world.wait_running("lost", 1)
    world.kill()
    shutil.rmtree(world.jobs / "status")
    [finding] = leftovers(world, "default/lost")
    assert "default/lost, which is not known here any more" in finding["message"]
    run_remedy(world, finding["remedy"])
    assert leftovers(world, "default/lost") == []
