"""hostPath volumes -> what may really be mounted: no link is followed below an allowed directory.

Walks by descriptors, so that what was checked is what was opened. The engine opens the path once more by its name;
whoever can write in the directory itself could move it in between, and nobody else.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from trainlet.documents.safe_read import find_real_path
from trainlet.kube.errors import TrainletError
from trainlet.planning.specs import ContainerSpec, Mount

#: O_PATH touches nothing; where there is none, a pipe must not make us wait.
_WALK = os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)
_MODE = 0o755

#: What `hostPath.type` says must be there, after something was made for the types that end in OrCreate.
_TYPES: dict[str, Callable[[int], bool]] = {
    "": lambda mode: not stat.S_ISSOCK(mode),
    "Directory": stat.S_ISDIR,
    "DirectoryOrCreate": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "FileOrCreate": stat.S_ISREG,
    "BlockDevice": stat.S_ISBLK,
    "CharDevice": stat.S_ISCHR,
}
#: Where engines listen: to reach one of these is to own the machine.
_ENGINE_SOCKETS = (
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
)
_USERS = Path("/run/user")
_USERS_SOCKETS = ("*/podman/podman.sock", "*/docker.sock")


def secure_mounts(spec: ContainerSpec, roots: Sequence[str], sockets: Sequence[str] = ()) -> ContainerSpec:
    """Return the spec with its host paths judged on the file system; `sockets` are engines' beside the known ones.

    Makes what a type ending in OrCreate asks for. Raises TrainletError for what may not be mounted.
    """
    for mount in spec.mounts:
        if mount.host_path_type is not None:
            _judge(mount, roots, (*_ENGINE_SOCKETS, *sockets))
    return replace(spec, mounts=tuple(replace(m, source=os.path.normpath(m.source)) for m in spec.mounts))


def _judge(mount: Mount, roots: Sequence[str], sockets: Sequence[str]) -> None:
    path, kind = os.path.normpath(mount.source), mount.host_path_type or ""
    root = next((root for root in roots if Path(path).is_relative_to(root)), None)
    if root is None:
        raise _refuse(mount, "is below no allowed directory", "allow one with --allow-host-path, or use the workspace")
    if kind not in _TYPES:
        raise _refuse(mount, f"has type {kind}", "a socket or another kind of file is never mounted: leave it out")
    try:
        with _open_beneath(root, path, kind) as descriptor:
            mode, place = os.fstat(descriptor).st_mode, find_real_path(descriptor)
    except OSError as error:
        remedy = "make it, or name the path that a link leads to"
        raise _refuse(mount, f"cannot be opened without following a link: {error.strerror}", remedy) from None
    if not _TYPES[kind](mode):
        raise _refuse(mount, f"is no {kind or 'directory, file or device'}", "correct its path or type")
    if _reaches_a_socket(place, sockets):
        raise _refuse(mount, "leads to the socket of a container engine", "mount a directory below it that has none")


@contextmanager
def _open_beneath(root: str, path: str, kind: str) -> Iterator[int]:
    """Open a path step by step from its allowed directory."""
    parts = Path(path).relative_to(root).parts
    descriptor = os.open(root, _WALK)
    try:
        for number, part in enumerate(parts, 1):
            if kind.endswith("OrCreate"):
                _make(descriptor, part, is_file=kind.startswith("File") and number == len(parts))
            below = os.open(part, _WALK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):  # O_PATH opens a last link itself
                raise OSError(0, f"{part} is a symbolic link")
        yield descriptor
    finally:
        os.close(descriptor)


def _make(parent: int, name: str, *, is_file: bool) -> None:
    with suppress(FileExistsError):
        if is_file:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o644, dir_fd=parent))
        else:
            os.mkdir(name, _MODE, dir_fd=parent)


def _reaches_a_socket(place: Path, sockets: Sequence[str]) -> bool:
    """Tell whether a real path is a socket, lies at one, or has one below it, however it is called."""
    users = (str(socket) for pattern in _USERS_SOCKETS for socket in _USERS.glob(pattern))
    return any(_resolve(socket).is_relative_to(place) for socket in (*sockets, *users))


def _resolve(path: str) -> Path:
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError):  # gone while we looked, or a loop: no socket is behind it
        return Path(path)


def _refuse(mount: Mount, what: str, remedy: str) -> TrainletError:
    return TrainletError(f"the hostPath {what}", where=mount.source, remedy=remedy)
