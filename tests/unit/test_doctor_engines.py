"""What `trainlet doctor` says of engines, on trees of files that stand for machines."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainlet.doctor.machine import Finding, Level
from trainlet.engine.explain import NO_SOCKET
from trainlet.engine.probe import Attempt
from trainlet.kube.meta import JSON
from trees import DOCKER, FAIL, OK, OWN_PODMAN, PODMAN, WARN, StillEngine, Tree, levels, run


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def attempt(runtime: str, url: str, error: str = "", remedy: str = "") -> Attempt:
    return Attempt(runtime, url, ok=not error, version="" if error else "1.2.3", error=error, remedy=remedy)


def test_without_an_engine_every_place_is_told_with_its_reason(tree: Tree) -> None:
    attempts = [
        attempt("docker", DOCKER, "permission denied on the socket", "join the group docker"),
        attempt("podman", PODMAN, NO_SOCKET, "start podman.socket"),
        attempt("podman", OWN_PODMAN, NO_SOCKET, "start podman.socket"),
    ]
    machine = tree.look(attempts=attempts, complaint="no container engine answers; tried were\n  ...")
    [engine] = run("engine", machine)
    assert (engine.level, engine.message) == (FAIL, "no container engine answers")
    assert engine.remedy == (
        "join the group docker; start podman.socket; or do without containers: --container-runtime process"
    )
    assert run("sockets", machine) == [
        Finding(WARN, f"docker at {DOCKER}: permission denied on the socket", "join the group docker"),
        Finding(WARN, f"no podman socket at {PODMAN}, {OWN_PODMAN}", "start podman.socket"),
    ]


def test_with_an_engine_absent_sockets_are_no_problem(tree: Tree) -> None:
    attempts = [attempt("docker", DOCKER), attempt("podman", PODMAN, NO_SOCKET, "start it")]
    machine = tree.look(StillEngine(), attempts=attempts)
    assert [str(finding.message) for finding in run("sockets", machine)] == [
        f"docker 1.2.3 answers at {DOCKER}",
        f"no podman socket at {PODMAN}",
    ]
    assert levels("sockets", machine) == [OK, OK]
    assert run("engine", machine) == [Finding(OK, f"docker 1.2.3 at {DOCKER} is used")]


def test_processes_are_told_to_isolate_nothing(tree: Tree) -> None:
    assert levels("engine", tree.look(StillEngine("process", "file:///state"))) == [WARN]


@pytest.mark.parametrize(
    ("complaint", "remedy"),
    [
        ("its service: did not come up: newuidmap: not found", "user.max_user_namespaces"),
        ("its service: did not come up: it said nothing", "start podman.socket"),
    ],
)
def test_a_podman_service_that_does_not_come_up_says_why(tree: Tree, complaint: str, remedy: str) -> None:
    tree.install("podman")
    attempts = [attempt("podman", PODMAN, NO_SOCKET, "start podman.socket")]
    [finding] = run("podman service", tree.look(attempts=attempts, complaint=f"no engine\n  podman  {complaint}"))
    assert finding.level is FAIL
    assert complaint in finding.message
    assert remedy in finding.remedy


def test_where_podman_is_not_installed_its_service_is_no_matter(tree: Tree) -> None:
    assert run("podman service", tree.look(complaint="no engine")) == []


@pytest.mark.parametrize(
    ("runtime", "files", "level"),
    [
        ("docker", (), OK),
        ("docker", ("/proc/driver/nvidia/version",), WARN),
        ("docker", ("/proc/driver/nvidia/version", "/usr/bin/nvidia-ctk"), OK),
        ("podman", ("/dev/nvidiactl", "/usr/bin/nvidia-ctk"), WARN),
        ("podman", ("/dev/nvidiactl", "/etc/cdi/nvidia.yaml"), OK),
        ("podman", ("/dev/nvidiactl", "/var/run/cdi/nvidia.yaml"), OK),
        ("podman", ("/dev/nvidiactl", "/etc/cdi/other.yaml"), WARN),
    ],
)
def test_gpus_need_a_toolkit_or_a_cdi_specification(
    tree: Tree, runtime: str, files: tuple[str, ...], level: Level
) -> None:
    tree.install("nvidia-smi")
    for file in files:
        tree.install(Path(file).name) if "bin" in file else tree.write(file)
    assert levels("gpu", tree.look(StillEngine(runtime))) == [level]


def test_a_gpu_without_driver_is_seen(tree: Tree) -> None:
    for name, vendor, kind in (("0", "0x8086", "0x030000"), ("1", "0x10de", "0x040300")):
        tree.write(f"/sys/bus/pci/devices/{name}/vendor", vendor)
        tree.write(f"/sys/bus/pci/devices/{name}/class", kind)
    assert levels("gpu", tree.look(StillEngine())) == [OK]
    tree.write("/sys/bus/pci/devices/1/class", "0x030200\n")
    assert levels("gpu", tree.look(StillEngine())) == [WARN]


def test_podman_needs_an_init(tree: Tree) -> None:
    machine = tree.look(StillEngine("podman", PODMAN))
    assert levels("container init", machine) == [WARN]
    tree.write("/usr/bin/tini-static")
    assert levels("container init", machine) == [OK]


@pytest.mark.parametrize(
    ("info", "files", "level", "word"),
    [
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, (), OK, "registered"),
        ({"Runtimes": {"runc": {}}}, (), WARN, "not installed"),
        ({"Runtimes": {"runc": {}}}, ("nvidia-ctk",), WARN, "does not list"),
        ({"CDISpecDirs": ["/etc/cdi"]}, ("nvidia-ctk",), OK, "CDI"),
    ],
)
def test_docker_itself_is_asked_for_the_runtime(
    tree: Tree, info: JSON, files: tuple[str, ...], level: Level, word: str
) -> None:
    tree.write("/dev/nvidiactl")
    for name in ("nvidia-smi", *files):
        tree.install(name)
    if "CDISpecDirs" in info:
        tree.write("/etc/cdi/nvidia.yaml")
    tree.replies["/info"] = info
    [finding] = run("gpu", tree.look(StillEngine()))
    assert (finding.level, word in finding.message) == (level, True)


@pytest.mark.parametrize(
    ("told", "level"),
    [
        ("2026-01-02T03:04:05.123456789Z", OK),
        ("2026-01-02T05:04:45+02:00", OK),
        ("2026-01-02T03:05:06Z", WARN),
        ("2025-12-31T03:04:05Z", WARN),
    ],
)
def test_clocks_that_differ_are_told(tree: Tree, told: str, level: Level) -> None:
    tree.replies["/info"] = {"SystemTime": told}
    machine = tree.look(StillEngine(), now=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert levels("clock", machine) == [level]


def test_an_engine_that_tells_no_time_has_no_clock_to_judge(tree: Tree) -> None:
    assert run("clock", tree.look(StillEngine())) == []
