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
        (1000, {"/sys/fs/cgroup/cgroup.controllers": "cpu memory"}, WARN, "cpu, memory, pids:"),
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
                "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers": "cpu memory",
            },
            WARN,
            "limit pids:",
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
        ({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, WARN),
        ({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0"}, OK),
        ({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1", "/etc/apparmor.d/podman": "x"}, OK),
    ],
)
def test_rootless_needs_user_namespaces(tree: Tree, files: dict[str, str], level: Level) -> None:
    for path, text in files.items():
        tree.write(path, text)
    assert levels("user namespaces", tree.look(StillEngine("podman", OWN_PODMAN), uid=1000)) == [level]
    assert run("user namespaces", tree.look(StillEngine("podman", PODMAN))) == []


@pytest.mark.parametrize(
    ("subuid", "expected"),
    [
        ("ann:100000:65536\n", [OK, OK]),
        ("1000:100000:65536\n", [OK, OK]),
        ("ann:100000:32768\nann:200000:32768\n", [OK, OK]),
        ("ann:100000:1000\n", [WARN, OK]),
        ("ann:100000\nann:100000:many\n", [FAIL, OK]),
        ("bob:100000:65536\n", [FAIL, OK]),
    ],
)
def test_rootless_needs_ids_by_name_or_number(tree: Tree, subuid: str, expected: list[Level]) -> None:
    tree.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")
    tree.write("/etc/subuid", subuid)
    tree.write("/etc/subgid", "ann:100000:65536\n")
    tree.install("newuidmap", mode=0o4755)
    assert levels("subordinate ids", tree.look(StillEngine("podman", OWN_PODMAN), uid=1000)) == expected


def test_rootless_needs_the_program_that_maps_ids(tree: Tree) -> None:
    assert levels("subordinate ids", tree.look(StillEngine("podman", OWN_PODMAN), uid=1000)) == [FAIL, FAIL, FAIL]


def test_the_program_that_maps_ids_must_be_allowed_to(tree: Tree) -> None:
    tree.install("newuidmap")
    *_, finding = run("subordinate ids", tree.look(StillEngine("podman", OWN_PODMAN), uid=1000))
    assert (finding.level, finding.remedy) == (FAIL, f"`sudo chmod u+s {tree.root}/usr/bin/newuidmap`")


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


def test_many_directories_need_more_watches(tree: Tree) -> None:
    tree.write("/proc/sys/fs/inotify/max_user_watches", "8192\n")
    assert levels("inotify", tree.look()) == [OK]
    for number in range(4100):
        (tree.root / "jobs" / str(number)).mkdir()
    [finding] = run("inotify", tree.look())
    assert (finding.level, finding.remedy) == (WARN, "`sudo sysctl -w fs.inotify.max_user_watches=8202`")


LIMITS = "Limit        Soft Limit Hard Limit Units\nMax processes  12 12 processes\nMax open files  {} 524288 files\n"


@pytest.mark.parametrize(("number", "level"), [(256, WARN), (1024, OK)])
def test_few_open_files_are_told(tree: Tree, number: int, level: Level) -> None:
    tree.write("/proc/self/limits", LIMITS.format(number))
    assert levels("open files", tree.look()) == [level]


def test_without_a_list_of_limits_nothing_is_told(tree: Tree) -> None:
    assert run("open files", tree.look()) == []
