"""Bad input gives an error that a user can act on, in the status and on the command line, and nothing else suffers.

Every scenario has a healthy job beside the bad one, which must run to its end.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from engines import get_url
from trainlet.kube.meta import JSON
from waiting import wait_for
from world import PYTHON_IMAGE, TRAINLET, World, build_train_job

pytestmark = [pytest.mark.engine, pytest.mark.e2e]

DONE, NO, ENGINE, OTHER = 0, 1, 3, 4
COMMAND = ["python3", "-c", "print('well')"]


def build_bad(**spec: object) -> JSON:
    """Return a job named `bad` that would do well without what makes it bad."""
    return build_train_job("bad", 1, COMMAND, **spec)


def drop_healthy(world: World) -> None:
    world.drop(build_train_job("healthy", 1, COMMAND))


def assert_completes(world: World, name: str = "healthy") -> None:
    report = world.wait_phase(name, "Complete", "Failed", timeout_seconds=60)
    assert report["phase"] == "Complete", world.describe(name)


def wait_waiting(world: World, reason: str, name: str = "bad") -> str:
    """Wait until a node waits for this reason, and return what it says."""

    def look() -> str:
        return "".join(node["message"] for node in world.nodes(name) if node.get("reason") == reason)

    try:
        return wait_for(look, f"{name} to wait with {reason}", 30)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{world.describe(name)}") from None


def assert_shown(world: World, *words: str, name: str = "bad") -> None:
    """Check that the command line tells people of it too."""
    shown = world.trainlet("describe", "trainjob", name)
    assert shown.returncode == DONE, shown.stderr
    for word in words:
        assert word in shown.stdout


# Files


@dataclass(frozen=True)
class BadFile:
    """A file, what is wrong with it, and where."""

    text: str
    place: tuple[int, int]
    words: str


BAD_FILES = {
    "no YAML": BadFile("kind: TrainJob\nspec: [\n", (3, 1), "did not find expected node content"),
    "a tab": BadFile("kind: TrainJob\nspec:\n\tsuspend: true\n", (3, 1), "cannot start any token"),
    "an unknown kind": BadFile("apiVersion: trainer.kubeflow.org/v1\nkind: TrainJob\n", (2, 7), "supported values"),
    "a name that leads elsewhere": BadFile(
        "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: ../../evil}\n",
        (3, 18),
        "subdomain",
    ),
}


@pytest.mark.parametrize("bad", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_without_an_object(process_world: World, bad: BadFile) -> None:
    world = process_world
    world.start()
    path = world.jobs / "bad.yaml"
    path.write_text(bad.text)
    drop_healthy(world)
    assert_completes(world)
    [entry] = wait_for(world.status.read_errors, "the error to be written")
    assert entry["file"] == str(path)
    [error] = entry["errors"]
    assert ((error["line"], error["column"]), bad.words in error["detail"]) == (bad.place, True), error
    judged = world.trainlet("validate", str(path))
    assert judged.returncode == NO
    assert f"{bad.place[0]}:{bad.place[1]}" in judged.stdout + judged.stderr
    assert bad.words in judged.stdout + judged.stderr
    path.unlink()
    wait_for(lambda: not world.status.has_errors(), "the error to go with its file")


@dataclass(frozen=True)
class BadJob:
    """A spec, and what is wrong with it."""

    spec: dict[str, object]
    path: str
    words: str


BAD_JOBS = {
    "a schema violation": BadJob(
        {"trainer": {"numNodes": "two"}}, "spec.trainer.numNodes", 'must be of type integer: "string"'
    ),
    "an unknown field": BadJob({"trainer": {"imagee": "x"}}, "spec.trainer.imagee", 'did you mean "image"?'),
    "a missing runtime": BadJob(
        {"runtimeRef": {"name": "nowhere"}}, "spec.RuntimeRef", "must be created before the TrainJob is created"
    ),
}


@pytest.mark.parametrize("bad", BAD_JOBS.values(), ids=BAD_JOBS)
def test_a_job_that_is_refused(process_world: World, bad: BadJob) -> None:
    world = process_world
    world.start()
    path = world.drop(build_bad(**bad.spec))
    drop_healthy(world)
    assert_completes(world)
    report = world.wait_phase("bad", "Rejected")
    [error] = [e for e in report["errors"] if e["path"] == bad.path]
    assert bad.words in error["detail"]
    assert error["line"] > 1
    assert world.job("bad") == {}
    assert_shown(world, "Rejected", bad.words)
    for verb in (("validate", str(path)), ("wait", "bad")):
        answer = world.trainlet(*verb)
        assert answer.returncode == NO
        assert bad.words in answer.stdout + answer.stderr
    assert "Rejected" in world.trainlet("get", "tj").stdout
    world.drop(build_bad())
    assert_completes(world, "bad")


def test_a_job_waits_for_its_runtime(process_world: World) -> None:
    world = process_world
    world.start()
    world.drop(build_bad(runtimeRef={"name": "mine"}))
    world.wait_phase("bad", "Rejected")
    shown = world.trainlet("get", "clustertrainingruntime", "torch-distributed", "-o", "yaml")
    runtime = yaml.safe_load(shown.stdout)
    world.drop({**runtime, "metadata": {"name": "mine"}}, file="runtime.yaml")
    assert_completes(world, "bad")


def test_two_files_of_one_name(process_world: World) -> None:
    world = process_world
    world.start()
    world.drop(build_bad(), file="first.yaml")
    assert_completes(world, "bad")
    uid = world.job("bad")["metadata"]["uid"]
    world.drop(build_bad(suspend=True), file="also.yaml")
    drop_healthy(world)
    [entry] = wait_for(world.status.read_errors, "the error to be written")
    assert entry["file"] == str(world.jobs / "also.yaml")
    assert f"already defined in {world.jobs}/first.yaml: rename one of them" in entry["errors"][0]["detail"]
    assert_completes(world)
    assert world.job("bad")["metadata"]["uid"] == uid


def test_an_edit_that_breaks_the_file_of_a_running_job(process_world: World) -> None:
    world = process_world
    world.start()
    path = drop_waiting(world)
    uid, good = world.job("bad")["metadata"]["uid"], path.read_text()
    before = world.observe(uid).containers
    path.write_text("metadata: {")
    wait_for(world.status.has_errors, "the file to be reported")
    path.write_text(good.replace("numNodes: 1", "numNodes: none"))
    wait_for(lambda: world.report("bad").get("errors"), "the job to be reported")
    drop_healthy(world)
    assert_completes(world)
    assert world.observe(uid).containers == before
    (world.base / "go").touch()
    assert_completes(world, "bad")


def drop_waiting(world: World) -> Path:
    """Drop a job of processes that runs until `go` is there, and wait until it runs."""
    code = f"import os, time\nwhile not os.path.exists({str(world.base / 'go')!r}): time.sleep(0.05)"
    path = world.drop(build_train_job("bad", 1, ["python3", "-c", code]))
    world.wait_phase("bad", "Running")
    return path


# Directories


def test_two_operators_on_one_directory(process_world: World) -> None:
    world = process_world
    first = world.start()
    wait_for(lambda: world.log.exists() and "watching" in world.log.read_text(), "the first operator")
    second = world.trainlet("run", str(world.jobs), *world.engine_flags())
    assert (second.returncode, second.stdout) == (OTHER, "")
    assert second.stderr.strip().endswith(
        f"error: another trainlet works on this directory (process {first.pid}) ({world.status.root}): "
        "stop it first, or give another --status-dir and directory"
    )
    drop_healthy(world)
    assert_completes(world)
    world.kill()
    world.start()
    wait_for(lambda: world.log.read_text().count("watching") == 2, "the next one after a crash")


def test_a_directory_that_is_not_there(process_world: World) -> None:
    missing = str(process_world.base / "none")
    answer = process_world.trainlet("run", missing, "--container-runtime", "process")
    assert answer.returncode == 2
    assert answer.stderr == f"error: the watched directory does not exist ({missing}): make it first\n"


def test_a_status_directory_that_is_deleted_comes_back(process_world: World) -> None:
    world = process_world
    world.start()
    drop_waiting(world)
    uid = world.job("bad")["metadata"]["uid"]
    # In one step: the operator writes on, and a tree that is removed entry by entry may fill again.
    world.status.root.rename(world.base / "deleted")
    drop_healthy(world)
    assert_completes(world)
    (world.base / "go").touch()
    assert_completes(world, "bad")
    assert world.job("bad")["metadata"]["uid"] == uid
    assert (world.status.root / ".gitignore").exists()


def run_bound(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of trainlet's verbs as somebody whom file modes bind, which they do not for root."""
    return subprocess.run(
        [*bind(), str(TRAINLET), *arguments], env=world.environ, capture_output=True, text=True, timeout=60, check=False
    )


def bind() -> list[str]:
    """Return what to put before a command so that file modes bind it."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not there")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


def test_a_watched_directory_that_is_read_only(process_world: World) -> None:
    world = process_world
    drop_healthy(world)
    with read_only(world.jobs):
        refused = run_bound(world, "run", *world.engine_flags())
        assert refused.returncode == OTHER
        assert refused.stderr.strip().endswith(
            f"error: cannot write status documents: Permission denied ({world.status.root}): "
            "make the directory writable or give another with --status-dir"
        )
        world.status.root = world.base / "status"
        status = ["--status-dir", str(world.status.root)]
        done = run_bound(
            world, "run", *world.engine_flags(), *status, "--workspace-dir", f"{world.base}/work", "--once"
        )
        assert done.returncode == DONE, done.stderr
        assert_completes(world)
        assert "Complete" in run_bound(world, "get", "tj", *status).stdout


def test_a_status_directory_that_is_read_only(process_world: World) -> None:
    world = process_world
    world.status.prepare()
    with read_only(world.status.root):
        refused = run_bound(world, "run", *world.engine_flags())
    assert refused.returncode == OTHER
    assert refused.stderr.strip().endswith(
        f"error: cannot write status documents: Permission denied ({world.status.root}/.lock): "
        "make the directory writable or give another with --status-dir"
    )


def test_a_status_directory_that_becomes_read_only(process_world: World) -> None:
    world = process_world
    world.start(prefix=bind())
    drop_healthy(world)
    assert_completes(world)
    with read_only(world.status.root):
        world.drop(build_bad())
        told = "cannot write status documents: Permission denied"
        wait_for(lambda: told in world.log.read_text(), "the log to tell", 30)
    assert_completes(world, "bad")
    world.check_log()


@contextlib.contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Take the right to write from a tree's owner for a while."""
    directories = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for directory in directories:
        directory.chmod(0o555)
    try:
        yield
    finally:
        for directory in directories:
            directory.chmod(0o755)


# Engines


def test_a_daemon_that_is_down(docker_world: World) -> None:
    world = docker_world
    world.start()
    dead = f"unix://{world.base}/dead.sock"
    for runtime in ("docker", "podman"):
        answer = world.trainlet("run", str(world.jobs), "--container-runtime", runtime, "--container-host", dead)
        assert answer.returncode == ENGINE
        lines = answer.stderr.splitlines()
        assert lines[0] == "error: no container engine answers; tried were"
        assert lines[1].split() == [runtime, f"{dead}:", "there", "is", "no", "such", "socket"]
        assert "start it: " in answer.stderr
        assert "--container-runtime process" in lines[-1]
    drop_healthy(world)
    assert_completes(world)


def test_a_socket_without_permission(docker_world: World) -> None:
    world = docker_world
    world.start()
    path = world.base / "closed.sock"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(path))
        closed.listen()
        path.chmod(0)
        answer = run_bound(world, "run", "--container-runtime", "docker", "--container-host", f"unix://{path}")
    assert answer.returncode == ENGINE
    assert f"unix://{path}: permission denied on the socket" in answer.stderr
    assert "sudo usermod -aG docker $USER" in answer.stderr
    drop_healthy(world)
    assert_completes(world)


@contextlib.contextmanager
def tagged(world: World, image: str) -> Iterator[None]:
    """Let the engine have the test image under another name for a while."""
    made = world.client("tag", PYTHON_IMAGE, image)
    assert made.returncode == 0, made.stderr
    try:
        yield
    finally:
        world.client("rmi", image)


def test_an_image_that_cannot_be_had(world: World) -> None:
    image = f"localhost:9/{uuid.uuid4().hex}:none"
    world.start()
    world.drop(build_bad(trainer={"image": image}))
    drop_healthy(world)
    assert_completes(world)
    message = wait_waiting(world, "ImagePullBackOff")
    assert f"could not pull {image}" in message
    assert "check the network, or load the image by hand" in message
    assert world.report("bad")["phase"] == "Pending", "to wait is not to fail"
    assert_shown(world, "ImagePullBackOff", f"could not pull {image}")
    assert "Failed to pull image" in world.trainlet("events").stdout
    with tagged(world, image):
        assert_completes(world, "bad")


def test_a_name_that_no_image_can_have(world: World) -> None:
    world.start()
    world.drop(build_bad(trainer={"image": "localhost/slip_:none"}))
    message = wait_waiting(world, "ImagePullBackOff")
    assert "invalid reference format" in message
    assert "check the image's name" in message
    assert_shown(world, "ImagePullBackOff", "invalid reference format")


def test_an_image_that_must_not_be_pulled(docker_world: World) -> None:
    world = docker_world
    image = f"localhost/{uuid.uuid4().hex}:none"
    world.start("--pull-policy", "Never")
    world.drop(build_bad(trainer={"image": image}))
    drop_healthy(world)
    assert_completes(world)
    message = wait_waiting(world, "ErrImageNeverPull")
    assert message == f'image "{image}" is not on this engine and the pull policy is Never: load it or pull it'
    assert_shown(world, "ErrImageNeverPull", "load it or pull it")
    with tagged(world, image):
        assert_completes(world, "bad")


def test_a_container_of_somebody_else_has_the_name(world: World) -> None:
    world.client("rm", "-f", "bad-node-0")
    made = world.client("create", "--name", "bad-node-0", PYTHON_IMAGE, "sleep", "1")
    assert made.returncode == 0, made.stderr
    foreign = made.stdout.strip()
    try:
        world.start()
        world.drop(build_bad())
        drop_healthy(world)
        assert_completes(world)
        message = wait_waiting(world, "CreateContainerError")
        assert "bad-node-0" in message
        assert_shown(world, "CreateContainerError", "bad-node-0")
        seen = world.client("inspect", "--format", "{{.Id}} {{.State.Status}}", "bad-node-0")
        assert seen.stdout.split() == [foreign, "created"], "it is not touched"
    finally:
        world.client("rm", "-f", foreign)
    assert_completes(world, "bad")


def test_a_network_of_somebody_else_has_the_name(world: World) -> None:
    world.client("network", "rm", "bad-net")
    made = world.client("network", "create", "bad-net")
    assert made.returncode == 0, made.stderr
    try:
        world.start()
        world.drop(build_bad())
        drop_healthy(world)
        assert_completes(world)
        message = wait_waiting(world, "NetworkNotReady")
        assert "bad-net" in message
        assert_shown(world, "NetworkNotReady", "bad-net")
        assert world.client("network", "inspect", "bad-net").returncode == 0, "it is not touched"
    finally:
        world.client("network", "rm", "bad-net")
    assert_completes(world, "bad")


def test_no_engine_is_forced_to_be_one_it_is_not(docker_world: World) -> None:
    """A Docker socket given as Podman's is told, rather than half understood."""
    answer = docker_world.trainlet(
        "run", str(docker_world.jobs), "--container-runtime", "podman", "--container-host", get_url(docker_world.kind)
    )
    assert answer.returncode in (2, ENGINE)
    assert "docker" in answer.stderr.lower()
