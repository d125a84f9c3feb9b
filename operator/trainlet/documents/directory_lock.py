"""Holds a watched directory and its status directory against a second operator, whatever path leads there.

The watched one is held by itself: what is in the status directory may be removed, and two operators may have been given
one directory with two places for the status.
"""

import contextlib
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

from trainlet.documents.status_dir import build_write_error
from trainlet.kube.errors import TrainletError

_LOCKS = Path("/proc/locks")


def hold_directories(directory: Path, status_path: Path) -> ExitStack:
    """Hold both until what is returned is closed or the program ends. Raises TrainletError if somebody has one."""
    path = status_path / ".lock"
    with ExitStack() as held:
        try:
            file = _open(held, path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise build_write_error(error, path) from None
        _lock(file, status_path)
        os.truncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        with contextlib.suppress(OSError):  # one that cannot be read is not followed either
            _lock(_open(held, directory, os.O_RDONLY), directory)
        return held.pop_all()


def _open(held: ExitStack, path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    held.callback(os.close, descriptor)
    return descriptor


def _lock(descriptor: int, place: Path) -> None:
    """Lock an open file; on a file system that knows no such locks it stays open to all. Raises TrainletError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        what = f"another trainlet works on this directory (process {_find_holder(descriptor)})"
        remedy = "stop it first, or give another --status-dir and directory"
        raise TrainletError(what, where=str(place), remedy=remedy) from None
    except OSError:
        return


def _find_holder(descriptor: int) -> str:
    """Return the pid of who has locked this file, as far as the kernel tells."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        rows = [line.split() for line in _LOCKS.read_text(encoding="ascii").splitlines()]
    except OSError:
        return "unknown"
    return next((row[4] for row in rows if row[1] == "FLOCK" and row[5] == place), "unknown")
