"""Which files of a watched tree may be believed, and how to read one so that no other is read in its place.

Whoever can write a manifest runs programs as the operator. What a manifest says is not known here.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from shlex import quote
from stat import S_IRGRP, S_IROTH, S_ISREG, S_IWGRP, S_IWOTH

from trainlet.kube.errors import TrainletError

#: A pipe must not be waited for, and a terminal must not become the operator's.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_LONGEST_PATH = 1024  # PATH_MAX of macOS
NOT_REGULAR = "not a regular file"


class UnsafeFile(TrainletError):
    """A file or directory that others than its owner may write, or read, or outside of the watched directory."""

    @property
    def detail(self) -> str:
        """What and what to do, for where the path is told already."""
        return f"{self.what}: {self.remedy}"


def read_manifest(path: Path, root: Path, *, trusting: bool) -> bytes:
    """Return what a file below `root` holds, cut one byte after the most that a manifest may have.

    All that is judged is the open file itself, so that nobody can put another in its place in between.
    Raises OSError, or UnsafeFile unless `trusting`.
    """
    from trainlet.documents.parse import MAX_BYTES  # YAML takes its time to import, and a listing needs none

    descriptor = os.open(path, _FLAGS)
    try:
        stat = os.fstat(descriptor)
        if not S_ISREG(stat.st_mode):
            raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
        if not trusting:
            check_mode(path, stat)
            _check_surroundings(path, find_real_path(descriptor), root)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def check_mode(path: Path, stat: os.stat_result) -> None:
    """Raise UnsafeFile for what others than its owner may write."""
    who = _find_others(stat, S_IWOTH, S_IWGRP)
    if not who:
        return
    remedy = f"chmod go-w {quote(str(path))}, or run with --allow-unsafe-files"
    raise UnsafeFile(f"{who} may write it", where=str(path), remedy=remedy)


def find_readers(stat: os.stat_result) -> str:
    """Return who but a file's owner may read it, for people; an empty text where nobody may."""
    return _find_others(stat, S_IROTH, S_IRGRP)


def build_exposed(path: Path, readers: str) -> UnsafeFile:
    """Say what to do about a file with a Secret in it that others than its owner may read."""
    remedy = f"chmod 600 {quote(str(path))}, or run with --allow-unsafe-files"
    return UnsafeFile(f"{readers} may read this file, in which there is a Secret", where=str(path), remedy=remedy)


def _find_others(stat: os.stat_result, everybody: int, group: int) -> str:
    """Return to whom these bits of a mode open a file; a group that is the owner's alone is nobody else."""
    if stat.st_mode & everybody:
        return "every user of this machine"
    return "its group" if stat.st_mode & group and not _is_private_group(stat.st_uid, stat.st_gid) else ""


def check_place(path: Path, real: Path, real_root: Path) -> None:
    """Raise UnsafeFile for what is not where it seems to be, below the watched directory."""
    if not real.is_relative_to(real_root):
        remedy = "put the file itself there, or run with --allow-unsafe-files"
        raise UnsafeFile(f"it leads out of {real_root}, to {real}", where=str(path), remedy=remedy)


def forget_groups() -> None:
    """Ask again who is in which group."""
    _is_private_group.cache_clear()


def is_private(owner: str, group: str, members: Collection[str], primary: Collection[str]) -> bool:
    """Tell whether a group is its namesake's alone, as Debian's sshd does; of `primary` it is the login group."""
    return group == owner and {*members, *primary} == {owner}


def _check_surroundings(path: Path, real: Path, root: Path) -> None:
    """Check where an open file is, and every directory on the way: in one, anybody who may could exchange the file."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        real_root = find_real_path(descriptor)
    finally:
        os.close(descriptor)
    check_place(path, real, real_root)
    for directory in real.parents:
        check_mode(directory, directory.stat())
        if directory == real_root:
            return


def find_real_path(descriptor: int) -> Path:
    """Return where an open file or directory is, whatever names led to it."""
    if sys.platform == "darwin":
        return Path(os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(_LONGEST_PATH)).rstrip(b"\0")))
    return Path(f"/proc/self/fd/{descriptor}").readlink()


@lru_cache
def _is_private_group(uid: int, gid: int) -> bool:
    import grp  # only where something is writable for a group
    import pwd

    try:
        group, owner = grp.getgrgid(gid), pwd.getpwuid(uid).pw_name
    except KeyError:
        return False
    if group.gr_name != owner:
        return False
    return is_private(
        owner, group.gr_name, group.gr_mem, [user.pw_name for user in pwd.getpwall() if user.pw_gid == gid]
    )
