"""What `trainlet doctor` says of the kernel and of the system's files, on trees that stand for machines."""

from pathlib import Path

import pytest

from trainlet.doctor.machine import Level
from trees import DOCKER, FAIL, OK, OWN_PODMAN, PODMAN, WARN, StillEngine, Tree, levels, run


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize(
    ("uid", "files", "level", "word"),
    [
        (0, {"/sys/fs/cgroup/cgroup.controllers": "cpu memory"}, OK, "version 2"),
        (0, {"/sys/fs/cgroup/memory/tasks": ""}, OK, "version 1"),
        (0, {}, WARN, "no cgroups"),
        (1000, {"/sys/fs/cgroup/memory/tasks": ""}, WARN, "ignores"),
        (1000, {"/sys/fs/cgroup/cgroup.controllers": "cpu memory"}, WARN, "cpu and memory"),
        (
            1000,
            {
                "/sys/fs/cgroup/cgroup.controllers": "cpu memory",
                "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers": "memory pids",
            },
            WARN,
            "limit cpu:",
        ),
        (
            1000,
            {
                "/sys/fs/cgroup/cgroup.controllers": "cpu memory",
                "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers": "cpu memory pids",
            },
            OK,
            "delegated",
        ),
    ],
)
def test_limits_need_cgroups(tree: Tree, uid: int, files: dict[str, str], level: Level, word: str) -> None:
    for path, text in files.items():
        tree.write(path, text)
    [finding] = run("cgroups", tree.look(StillEngine("podman", OWN_PODMAN if uid else PODMAN), uid=uid))
    assert finding.level is level
    assert word in finding.message


@pytest.mark.parametrize(
    ("files", "level"),
    [
        ({}, OK),
        ({"/proc/sys/user/max_user_namespaces": "15000\n"}, OK),
        ({"/proc/sys/user/max_user_namespaces": "0\n"}, FAIL),
        ({"/proc/sys/kernel/unprivileged_userns_clone": "0"}, FAIL),
    ],
)
def test_rootless_needs_user_namespaces(tree: Tree, files: dict[str, str], level: Level) -> None:
    for path, text in files.items():
        tree.write(path, text)
    assert levels("user namespaces", tree.look(StillEngine("podman", OWN_PODMAN), uid=1000)) == [level]
    assert run("user namespaces", tree.look(StillEngine("podman", PODMAN))) == []


@pytest.mark.parametrize(
    ("subuid", "expected"),
    [("ann:100000:65536\n", [OK, OK]), ("1000:100000:65536\n", [OK, OK]), ("bob:100000:65536\n", [FAIL, OK])],
)
def test_rootless_needs_ids_by_name_or_number(tree: Tree, subuid: str, expected: list[Level]) -> None:
    tree.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")
    tree.write("/etc/subuid", subuid)
    tree.write("/etc/subgid", "ann:100000:65536\n")
    tree.install("newuidmap")
    assert levels("subordinate ids", tree.look(StillEngine("podman", OWN_PODMAN), uid=1000)) == expected


def test_rootless_needs_the_program_that_maps_ids(tree: Tree) -> None:
    assert levels("subordinate ids", tree.look(StillEngine("podman", OWN_PODMAN), uid=1000)) == [FAIL, FAIL, FAIL]


def test_an_engine_that_root_runs_needs_no_ids_of_the_users(tree: Tree) -> None:
    assert run("subordinate ids", tree.look(StillEngine("docker", DOCKER), uid=1000)) == []


@pytest.mark.parametrize("check", ["cgroups", "user namespaces", "subordinate ids", "container dns", "container init"])
def test_an_engine_elsewhere_has_a_kernel_of_its_own(tree: Tree, check: str) -> None:
    assert run(check, tree.look(StillEngine("podman", "ssh://ann@box"), uid=1000)) == []


def test_few_watches_are_told(tree: Tree) -> None:
    tree.write("/proc/sys/fs/inotify/max_user_watches", "100\n")
    tree.write("/proc/sys/fs/inotify/max_user_instances", "128\n")
    watches, instances = run("inotify", tree.look())
    assert (watches.level, watches.remedy) == (WARN, "`sudo sysctl -w fs.inotify.max_user_watches=8192`")
    assert instances.level is OK


@pytest.mark.parametrize(("free", "level"), [(5 << 30, OK), ((5 << 30) - 1, WARN)])
def test_little_room_on_disk_is_told(tree: Tree, free: int, level: Level) -> None:
    assert set(levels("disk", tree.look(StillEngine(), get_free_bytes=lambda _: free))) == {level}


@pytest.mark.parametrize(
    ("engine", "uid", "place"),
    [
        (StillEngine("docker", DOCKER), 0, "var/lib/docker"),
        (StillEngine("podman", PODMAN), 0, "var/lib/containers"),
        (StillEngine("podman", OWN_PODMAN), 1000, "home/.local/share/containers"),
        (StillEngine("podman", OWN_PODMAN), 0, "home/ann/.local/share/containers"),
    ],
)
def test_room_is_looked_for_where_the_engine_keeps_images(
    tree: Tree, engine: StillEngine, uid: int, place: str
) -> None:
    (tree.root / place).mkdir(parents=True)
    tree.write("/etc/passwd", "ann:x:1000:1000::/home/ann:/bin/sh\n")
    seen: list[Path] = []
    run("disk", tree.look(engine, uid, get_free_bytes=lambda path: seen.append(path) or 0))
    assert tree.root / place in seen
