"""Checks of what the kernel and the system's files allow: limits, user namespaces, watches, open files."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISUID

from trainlet.doctor.machine import Finding, Machine, fail, ok, warn
from trainlet.documents.scan import scan_directory

_NEEDED_CONTROLLERS = frozenset({"cpu", "memory", "pids"})
_FEW_WATCHES, _FEW_INSTANCES, _FEW_FILES, _FEW_IDS = 8192, 64, 1024, 65536
_SUBIDS = "`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`, then `podman system migrate`"
_DELEGATE = (
    "write [Service] and Delegate=cpu cpuset io memory pids to /etc/systemd/system/user@.service.d/delegate.conf, "
    "then `sudo systemctl daemon-reload` and log in again"
)
#: Settings of the kernel that keep a user who is not root from having user namespaces.
_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", 0, "user namespaces are switched off", "user.max_user_namespaces=15000"),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        0,
        "only root may make user namespaces",
        "kernel.unprivileged_userns_clone=1",
    ),
)
_APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_APPARMOR_SETTING = "kernel.apparmor_restrict_unprivileged_userns=0"
_SUBID_COLUMNS = 3
#: Of the programs that make the user namespaces of rootless engines; Ubuntu has them in two places.
_PROFILES = {"podman": ("podman", "crun"), "docker": ("rootlesskit", "usr.bin.rootlesskit", "*rootlesskit")}


def check_cgroups(machine: Machine) -> Iterator[Finding]:
    """Say whether CPU and memory limits have an effect."""
    if not machine.runs_containers_here:
        return
    if machine.path("/sys/fs/cgroup/cgroup.controllers").exists():
        yield from _check_delegation(machine)
    elif not machine.path("/sys/fs/cgroup/memory").exists():
        yield warn("no cgroups are mounted, so limits have no effect", "mount cgroup2 on /sys/fs/cgroup")
    elif machine.is_rootless:
        remedy = "boot with systemd.unified_cgroup_hierarchy=1, or use an engine that root runs"
        yield warn("cgroups are version 1, so a rootless engine ignores cpu and memory limits", remedy)
    else:
        yield ok("cgroups are version 1; limits work")


def _check_delegation(machine: Machine) -> Iterator[Finding]:
    if not machine.is_rootless:
        yield ok("cgroups are version 2; limits work")
        return
    uid = machine.engine_uid
    owned = machine.read(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers")
    missing = sorted(_NEEDED_CONTROLLERS - set(owned.split()))
    if missing:
        yield warn(f"the user may not limit {', '.join(missing)}: the cgroup controller is not delegated", _DELEGATE)
    else:
        yield ok("cgroups are version 2 and delegated to the user; limits work")


def check_user_namespaces(machine: Machine) -> Iterator[Finding]:
    """Say whether a user who is not root may have containers at all."""
    if not machine.is_rootless:
        return
    for path, closed, message, setting in _SWITCHES:
        if machine.read_number(path) == closed:
            yield fail(message, f"`sudo sysctl -w {setting}`, and the same line in /etc/sysctl.d/60-userns.conf")
            return
    if machine.read_number(_APPARMOR) == 1 and not _has_profile(machine):
        message = "AppArmor lets only programs with a profile make user namespaces, and the engine has none"
        yield warn(message, f"install the engine's AppArmor profile, or `sudo sysctl -w {_APPARMOR_SETTING}`")
    else:
        yield ok("user namespaces are allowed")


def _has_profile(machine: Machine) -> bool:
    return any(next(machine.find(f"/etc/apparmor.d/{name}"), None) for name in _PROFILES.get(machine.runtime, ()))


def check_subordinate_ids(machine: Machine) -> Iterator[Finding]:
    """Say whether the user has ids to map a container's users to, and the program that maps them."""
    if not machine.is_rootless:
        return
    names = {str(machine.engine_uid), *machine.find_user(machine.engine_uid)[:1]}
    for file in ("/etc/subuid", "/etc/subgid"):
        yield _judge_ids(file, _count_ids(machine.read(file), names))
    program = machine.find_program("newuidmap")
    if program is None:
        yield fail("there is no newuidmap to map the ids", "install uidmap (on Fedora: shadow-utils)")
    elif not _may_map(Path(program)):
        yield fail(f"{program} may not map ids: it is not root's with setuid", f"`sudo chmod u+s {program}`")


def _count_ids(text: str, names: set[str]) -> int:
    rows = (line.split(":") for line in text.splitlines())
    return sum(int(row[2]) for row in rows if len(row) == _SUBID_COLUMNS and row[0] in names and row[2].isdigit())


def _judge_ids(file: str, count: int) -> Finding:
    if count == 0:
        return fail(f"{file} gives the user no ids for containers", _SUBIDS)
    if count < _FEW_IDS:
        return warn(f"{file} gives the user only {count} ids for containers, images may need {_FEW_IDS}", _SUBIDS)
    return ok(f"{file} gives the user ids for containers")


def _may_map(program: Path) -> bool:
    """Tell by the mode or, as on Fedora, by the file's capabilities."""
    return bool(program.stat().st_mode & S_ISUID) or "security.capability" in os.listxattr(program)


def check_inotify(machine: Machine) -> Iterator[Finding]:
    """Say whether the kernel lets the operator follow its directory."""
    needed = _count_directories(machine)
    for name, few in (("max_user_watches", max(_FEW_WATCHES, 2 * needed)), ("max_user_instances", _FEW_INSTANCES)):
        number = machine.read_number(f"/proc/sys/fs/inotify/{name}")
        if number is not None and number < few:
            message = f"fs.inotify.{name} is {number}, which is few (directories to watch: {needed})"
            yield warn(message, f"`sudo sysctl -w fs.inotify.{name}={few}`")
        elif number is not None:
            yield ok(f"fs.inotify.{name} is {number}")


def _count_directories(machine: Machine) -> int:
    settings = machine.settings
    if not settings.dir.is_dir():
        return 0
    return len(scan_directory(settings.dir, frozenset({settings.status_path, settings.workspace_path})).directories)


def check_open_files(machine: Machine) -> Iterator[Finding]:
    """Say whether an operator started like this program may open as many files and connections as it may need."""
    row = re.search(r"^Max open files\s+(\d+)", machine.read("/proc/self/limits"), re.MULTILINE)
    if row is None:
        return
    text = f"a process may open {row[1]} files"
    yield warn(text, f"`ulimit -n {_FEW_FILES * 4}`") if int(row[1]) < _FEW_FILES else ok(text)
