"""Archives and directories -> Content."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import IO

from .content import Content, refuse
from .files import BLOCK_BYTES, hash_file
from .messages import FetchError, show_name, warn

#: An archive may always unpack to this much; beyond it, to a multiple of its own size.
_HARMLESS_BYTES = 1 << 26
#: Python reads extended headers as a whole into memory.
_LONGEST_HEADER_BYTES = 1 << 20
_EXTENDED = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


def unpack(path: Path, kind: str, content: Content, max_ratio: int) -> None:
    """Write what is in an archive of a kind, `zip` or `tar`. Raises FetchError, OSError."""
    content.limit_bytes = min(content.limit_bytes, max(_HARMLESS_BYTES, max_ratio * path.stat().st_size))
    with path.open("rb") as stream:
        try:
            {"zip": _unpack_zip, "tar": _unpack_tar}[kind](stream, content)
        except Exception as error:
            # The libraries raise nearly anything at hostile input; what has an errno is about our own disk.
            if isinstance(error, FetchError) or getattr(error, "errno", None):
                raise
            what = f"the archive is damaged or encrypted: {type(error).__name__}: {error}"
            raise FetchError(what, path.name, "see that it was stored whole, or pack it again") from error


def copy_tree(root: Path, content: Content) -> str:
    """Copy all below a directory, but no links out of it and no devices; return a digest of names and bytes."""
    digest = hashlib.sha256()
    root = root.resolve()
    for above, directories, names in os.walk(str(root), onerror=_fail):
        directories.sort()
        for path in (Path(above, name) for name in sorted([*directories, *names])):
            name, mode = path.relative_to(root).as_posix(), path.lstat().st_mode
            if stat.S_ISREG(mode):
                digest.update(f"{name}\0{hash_file(path)}\n".encode("utf-8", "surrogateescape"))
                with path.open("rb") as stream:
                    content.add_file(name, stream, executable=bool(mode & 0o100))
            elif stat.S_ISDIR(mode):
                content.add_directory(name)
            elif stat.S_ISLNK(mode) and root in (real := Path(os.path.realpath(str(path)))).parents:
                content.add_link(name, os.path.relpath(str(real), above))
            else:
                warn(f"{show_name(name)} was left out: it leads out of the source, or is a device")
    return f"sha256-{digest.hexdigest()}"


def _fail(error: OSError) -> None:
    raise error


def _unpack_zip(stream: IO[bytes], content: Content) -> None:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            # The upper half is a mode where the archive was made on Unix.
            mode = member.external_attr >> 16 if member.create_system == 3 else 0
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                raise refuse(member.filename, "is a device")
            if member.is_dir():
                content.add_directory(member.filename)
                continue
            with archive.open(member) as data:
                if stat.S_ISLNK(mode):
                    content.add_link(member.filename, os.fsdecode(data.read(BLOCK_BYTES)))
                else:
                    content.add_file(member.filename, data, executable=bool(mode & 0o100))


class _Header(tarfile.TarInfo):
    """A header that does not take damage for the archive's end, as tarfile does from the second one on."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf == bytes(tarfile.BLOCKSIZE):
                raise  # zeros are the end
            raise tarfile.ReadError(str(error)) from None
        if header.size < 0 or (header.type in _EXTENDED and header.size > _LONGEST_HEADER_BYTES):
            raise tarfile.ReadError(f"a header with size {header.size}")
        return header


def _unpack_tar(stream: IO[bytes], content: Content) -> None:
    with tarfile.open(fileobj=stream, mode="r:*", tarinfo=_Header) as archive:
        while (member := archive.next()) is not None:
            _unpack_member(archive, member, content)
            # Millions of them would fill the memory. (The types do not tell of this list.)
            archive.members.clear()  # type: ignore[attr-defined]


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, content: Content) -> None:
    executable = bool(member.mode & 0o100)
    if member.isdir():
        content.add_directory(member.name)
    elif member.issym():
        content.add_link(member.name, member.linkname)
    elif member.islnk():
        content.add_copy(member.name, member.linkname, executable=executable)
    elif member.isreg() and (data := archive.extractfile(member)) is not None:
        with data:
            content.add_file(member.name, data, executable=executable)
    else:
        raise refuse(member.name, "is a device")
