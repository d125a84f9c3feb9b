"""Checks of room and rights where data are: disks, shared memory, and directories that containers mount."""

from collections.abc import Iterator
from pathlib import Path
from stat import S_IXOTH, S_IXUSR

from trainlet.doctor.machine import Finding, Machine, find_existing, ok, warn

_LITTLE_DISK_BYTES = 5 << 30
_LITTLE_SHARED_BYTES = 256 << 20
_FREE_DISK = "free disk space, for example with `docker system prune` or `podman system prune`"
_HOME_COLUMN = 5


def check_disk(machine: Machine) -> Iterator[Finding]:
    """Say how much room is left for images, workspaces, fetched data and status documents."""
    settings = machine.settings
    places = {
        "workspaces": settings.workspace_path,
        "status documents": settings.status_path,
        "fetched data": settings.cache_path,
    }
    if machine.runs_containers_here:
        places["images"] = _find_data_directory(machine)
    for what, path in places.items():
        existing = find_existing(path)
        free = machine.get_free_bytes(existing)
        text = f"{free / (1 << 30):.1f} GB are free for {what} ({existing})"
        yield ok(text) if free >= _LITTLE_DISK_BYTES else warn(text, _FREE_DISK)


def _find_data_directory(machine: Machine) -> Path:
    """Return where the engine keeps its images: what it says, else where it does by default."""
    told = machine.info.get("DockerRootDir")
    if told:
        return machine.path(told)
    name = "docker" if machine.runtime == "docker" else "containers"
    if not machine.is_rootless:
        return machine.path(f"/var/lib/{name}")
    if machine.engine_uid != machine.around.uid:
        home = machine.find_user(machine.engine_uid)[_HOME_COLUMN:][:1] or ["/"]
        return machine.path(f"{home[0]}/.local/share/{name}")
    data = machine.around.environ.get("XDG_DATA_HOME") or f"{machine.around.home}/.local/share"
    return Path(data) / name


def check_shared_memory(machine: Machine) -> Iterator[Finding]:
    """Say whether data loaders have the shared memory that they are promised."""
    if machine.runtime == "process":
        yield from _check_own_shared_memory(machine)
        return
    size, memory = machine.get_shm_bytes(), machine.info.get("MemTotal")
    if memory and memory < size:
        message = f"/dev/shm of a node is {_gigabytes(size)}, more than the engine's machine has ({_gigabytes(memory)})"
        remedy = "give jobs a memory limit, which is then its size, or the engine's virtual machine more memory"
        yield warn(message, remedy)
    elif memory:
        yield ok(f"/dev/shm of a node without a memory limit is {_gigabytes(size)}")


def _check_own_shared_memory(machine: Machine) -> Iterator[Finding]:
    directory = machine.path("/dev/shm")
    if not directory.is_dir():
        return
    free = machine.get_free_bytes(directory)
    text = f"{_gigabytes(free)} are free in /dev/shm, which all nodes share"
    is_little = free < _LITTLE_SHARED_BYTES
    yield warn(text, "`sudo mount -o remount,size=50% /dev/shm`") if is_little else ok(text)


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GB"


def check_mounts(machine: Machine) -> Iterator[Finding]:
    """Say whether an engine that another user runs may enter what its containers mount."""
    uid = machine.engine_uid
    if not machine.is_rootless or uid == machine.around.uid:
        return
    for path, flag in (
        (machine.settings.workspace_path, "--workspace-dir"),
        (machine.settings.cache_path, "--cache-dir"),
    ):
        existing = find_existing(path)
        closed = next((each for each in (*reversed(existing.parents), existing) if not _may_enter(each, uid)), None)
        if closed is None:
            yield ok(f"the engine's user {uid} may enter {existing}")
        else:
            remedy = f"give another directory with {flag}, or `chmod o+x {closed}`"
            yield warn(f"the engine's user {uid} may not enter {closed}, so no container can mount {path}", remedy)


def _may_enter(directory: Path, uid: int) -> bool:
    stat = directory.stat()
    return bool(stat.st_mode & (S_IXUSR if stat.st_uid == uid else S_IXOTH))
