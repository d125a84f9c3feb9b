"""Where the files of a container go, and the archives that bring them there. Makes no request, knows no engine.

A file lands in what its directory is part of: the image's file system, or the mount or volume that begins right
there. Any deeper in a mount, its directory is covered with a volume of the container's own, as a kubelet does it:
else the content would stay behind in what others share.
"""

import io
import posixpath
import tarfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from trainlet.kube.errors import EngineError
from trainlet.planning.specs import ContainerSpec, File, Mount, VolumeMount

ROOT = "/"
#: A tar ends with two empty blocks.
_END_BYTES = 2 * tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Layout:
    """`covers` are the directories that need a volume of the container's own; `files` is by where an archive is put."""

    covers: tuple[str, ...] = ()
    files: Mapping[str, tuple[File, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Access:
    """What a mounted directory is to become: root's and this group's, with these bits."""

    mode: int
    group: int = 0


@dataclass(frozen=True)
class _Place:
    """A directory that something is mounted on. `obstacle` says why no file can be put right into it."""

    path: str
    obstacle: str = ""
    is_cover: bool = False


def lay_out(spec: ContainerSpec, *, into_root: bool) -> Layout:
    """Find a place for every file; without `into_root` none is put into the image's own file system.

    Raises EngineError for a file that can have none.
    """
    places = _find_places(spec)
    files: dict[str, list[File]] = {}
    for file in sorted(spec.files, key=lambda each: clean(each.path).count("/")):
        place = _choose(file, places, into_root)
        if place.obstacle:
            raise EngineError(
                f"cannot put the file {file.path} into {place.path}: {place.obstacle}",
                where=f"container {spec.name}",
                remedy="give the file a directory of its own",
            )
        if place.is_cover:
            places[place.path] = place
        files.setdefault(place.path, []).append(file)
    covers = tuple(place.path for place in places.values() if place.is_cover)
    return Layout(covers, {path: tuple(each) for path, each in files.items()})


def clean(path: str) -> str:
    """Return an absolute path in its shortest form."""
    return posixpath.normpath("/" + path.lstrip("/"))


def is_within(path: str, directory: str) -> bool:
    """Tell whether a path is this directory or lies in it; both are clean."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _find_places(spec: ContainerSpec) -> dict[str, _Place]:
    mounted: list[Mount | VolumeMount] = [*spec.mounts, *spec.volumes]
    places = [_Place(clean(each.target), "it is mounted read-only" if each.read_only else "") for each in mounted]
    # A memory file system begins to exist with the container's start, and empty.
    places += [_Place(clean(each.target), "it is in memory and empty at the start") for each in spec.tmpfs]
    return {place.path: place for place in places}


def _choose(file: File, places: Mapping[str, _Place], into_root: bool) -> _Place:
    directory = posixpath.dirname(clean(file.path))
    around = max((path for path in places if is_within(directory, path)), key=len, default=None)
    if around is None and into_root:
        return _Place(ROOT)
    if around is not None and (around == directory or places[around].is_cover):
        return places[around]
    if directory == ROOT:
        return _Place(ROOT, "the container's root is read-only")
    return _Place(directory, is_cover=True)


def build_archives(layout: Layout, opened: Mapping[str, Access]) -> Iterator[tuple[str, bytes]]:
    """Yield (directory, tar) for each place, with what a directory itself is to become."""
    for path in sorted({*layout.files, *opened}):
        yield path, _build_tar(path, layout.files.get(path, ()), opened.get(path))


def _build_tar(directory: str, files: Collection[File], access: Access | None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        if access is not None:
            # Not ".": Docker skips that one. An absolute name is relative to where the archive is unpacked.
            entry = _build_entry(ROOT, tarfile.DIRTYPE, access.mode)
            entry.gid = access.group
            tar.addfile(entry)
        for file in files:
            name = posixpath.relpath(clean(file.path), directory)
            entry = _build_entry(name, tarfile.REGTYPE, file.mode)
            entry.uid, entry.gid, entry.size = file.uid, file.gid, len(file.content)
            tar.addfile(entry, io.BytesIO(file.content))
        end = buffer.tell() + _END_BYTES
    # Without the usual padding: Podman stops to read at the end mark, and fails over what is still to come.
    return buffer.getvalue()[:end]


def _build_entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, int(time.time())
    return entry
