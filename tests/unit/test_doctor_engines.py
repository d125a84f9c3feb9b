"""What `trainlet doctor` says of engines, on trees of files that stand for machines."""

from pathlib import Path

import pytest

from trainlet.doctor.machine import Finding, Level
from trainlet.engine.explain import NO_SOCKET
from trainlet.engine.probe import Attempt
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


def test_podman_needs_netavark_and_its_dns(tree: Tree) -> None:
    machine = tree.look(StillEngine("podman", PODMAN))
    assert levels("container dns", machine) == [WARN, WARN]
    tree.write("/usr/lib/podman/netavark")
    tree.write("/usr/libexec/podman/aardvark-dns")
    assert levels("container dns", machine) == [OK, OK]
    assert run("container dns", tree.look(StillEngine("docker"))) == []


def test_podman_needs_an_init(tree: Tree) -> None:
    machine = tree.look(StillEngine("podman", PODMAN))
    assert levels("container init", machine) == [WARN]
    tree.write("/usr/bin/tini-static")
    assert levels("container init", machine) == [OK]


@pytest.mark.parametrize(
    ("pool", "taken", "level", "count"),
    [
        ("10.213.0.0/16", (), OK, "1000 or more"),
        ("10.213.0.0/24", (), OK, "32"),
        ("10.213.0.0/24", ("10.213.0.0/25", "10.213.0.128/26"), WARN, "only 8"),
        ("10.213.0.0/24", ("10.213.0.0/16",), FAIL, "no"),
    ],
)
def test_free_subnets_are_counted(tree: Tree, pool: str, taken: tuple[str, ...], level: Level, count: str) -> None:
    [finding] = run("address pool", tree.look(StillEngine(subnets=frozenset(taken)), settings={"network_pool": pool}))
    assert (finding.level, finding.message.partition(" free")[0]) == (level, count)


def test_the_machines_own_routes_are_not_free(tree: Tree) -> None:
    # Destination and mask as the kernel writes them: 10.213.0.0/24, little-endian.
    tree.write("/proc/net/route", f"Iface Destination ...\neth0 0000D50A {'0 ' * 5}00FFFFFF 0 0 0\n")
    machine = tree.look(StillEngine(), settings={"network_pool": "10.213.0.0/24"})
    assert levels("address pool", machine) == [FAIL]
