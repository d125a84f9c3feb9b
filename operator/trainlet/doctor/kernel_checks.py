"""Checks of what the kernel and the system's files allow: limits, user namespaces, watches, disk."""

from collections.abc import Iterator
from pathlib import Path

from trainlet.doctor.machine import Finding, Machine, fail, ok, warn

_NEEDED_CONTROLLERS = frozenset({"cpu", "memory"})
_PASSWD_COLUMNS = 7
_FEW_WATCHES, _FEW_INSTANCES = 8192, 64
_LITTLE_DISK_BYTES = 5 << 30
_FREE_DISK = "free disk space, for example with `docker system prune` or `podman system prune`"
_SUBIDS = "`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`, then `podman system migrate`"
_DELEGATE = (
    "write [Service] and Delegate=cpu cpuset io memory pids to /etc/systemd/system/user@.service.d/delegate.conf, "
    "then `sudo systemctl daemon-reload` and log in again"
)


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
        yield warn(f"the user may not limit {' and '.join(missing)}: the cgroup controller is not delegated", _DELEGATE)
    else:
        yield ok("cgroups are version 2 and delegated to the user; limits work")


def check_user_namespaces(machine: Machine) -> Iterator[Finding]:
    """Say whether a user who is not root may have containers at all."""
    if not machine.is_rootless:
        return
    if machine.read_number("/proc/sys/user/max_user_namespaces") == 0:
        yield fail("user namespaces are switched off", "`sudo sysctl -w user.max_user_namespaces=15000`")
    elif machine.read_number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
        remedy = "`sudo sysctl -w kernel.unprivileged_userns_clone=1`"
        yield fail("only root may make user namespaces", remedy)
    else:
        yield ok("user namespaces are allowed")


def check_subordinate_ids(machine: Machine) -> Iterator[Finding]:
    """Say whether the user has ids to map a container's users to, and the program that maps them."""
    if not machine.is_rootless:
        return
    names = {str(machine.engine_uid), *_find_user(machine)[:1]}
    for file in ("/etc/subuid", "/etc/subgid"):
        if names.isdisjoint(line.split(":")[0] for line in machine.read(file).splitlines()):
            yield fail(f"{file} gives the user no ids for containers", _SUBIDS)
        else:
            yield ok(f"{file} gives the user ids for containers")
    if machine.find_program("newuidmap") is None:
        yield fail("there is no newuidmap to map the ids", "install uidmap (on Fedora: shadow-utils)")


def _find_user(machine: Machine) -> list[str]:
    """Return the row of /etc/passwd for the engine's user, or an empty one."""
    rows = [line.split(":") for line in machine.read("/etc/passwd").splitlines()]
    return next((row for row in rows if len(row) == _PASSWD_COLUMNS and row[2] == str(machine.engine_uid)), [])


def check_inotify(machine: Machine) -> Iterator[Finding]:
    """Say whether the kernel lets the operator follow its directory."""
    for name, few in (("max_user_watches", _FEW_WATCHES), ("max_user_instances", _FEW_INSTANCES)):
        number = machine.read_number(f"/proc/sys/fs/inotify/{name}")
        if number is not None and number < few:
            yield warn(f"fs.inotify.{name} is {number}, which is few", f"`sudo sysctl -w fs.inotify.{name}={few}`")
        elif number is not None:
            yield ok(f"fs.inotify.{name} is {number}")


def check_disk(machine: Machine) -> Iterator[Finding]:
    """Say how much room is left for images, workspaces and status documents."""
    places = {"workspaces": machine.settings.workspace_path, "status documents": machine.settings.status_path}
    if machine.runs_containers_here:
        places["images"] = _find_data_directory(machine)
    for what, path in places.items():
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free = machine.get_free_bytes(existing)
        text = f"{free / (1 << 30):.1f} GB are free for {what} ({existing})"
        yield ok(text) if free >= _LITTLE_DISK_BYTES else warn(text, _FREE_DISK)


def _find_data_directory(machine: Machine) -> Path:
    """Return where the engine keeps its images by default."""
    name = "docker" if machine.runtime == "docker" else "containers"
    if not machine.is_rootless:
        return machine.path(f"/var/lib/{name}")
    if machine.engine_uid != machine.around.uid:
        home = (_find_user(machine) or ["/"] * _PASSWD_COLUMNS)[5]
        return machine.path(f"{home}/.local/share/{name}")
    data = machine.around.environ.get("XDG_DATA_HOME") or f"{machine.around.home}/.local/share"
    return Path(data) / name
