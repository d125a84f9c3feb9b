"""A directory of manifests -> its files and their fingerprints. Reads names and stats, never content."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IRGRP, S_IROTH, S_ISREG, S_IWGRP, S_IWOTH

from trainlet.documents.safe_read import (
    NOT_REGULAR,
    UnsafeFile,
    check_mode,
    check_place,
    find_readers,
    forget_groups,
)

SUFFIXES = (".yaml", ".yml", ".json")

#: Device and inode: what tells a directory from another that took its place.
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What changes when a file's content does, or who may read it.

    `target` is where a symbolic link leads, `readers` who but its owner may read the file, in words for people.
    """

    mtime_ns: int
    size: int
    inode: int
    target: str = ""
    readers: str = ""


#: All that a file is judged by.
_Mark = tuple[int, ...]


@dataclass
class Listing:
    """One look at a directory.

    `directories` are those to watch, with their inodes; `problems` could not be read or are not to be believed. What
    the next look need not judge again is in `plain`, by the text of its path. `has_links`: of files.
    """

    identity: Identity
    files: dict[Path, Fingerprint] = field(default_factory=dict)
    directories: dict[Path, int] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)
    plain: dict[str, tuple[_Mark, Path, Fingerprint]] = field(default_factory=dict)
    has_links: bool = False


def scan_directory(
    root: Path, excluded: frozenset[Path], *, trusting: bool = True, before: Listing | None = None
) -> Listing:
    """Return all manifests below a directory. Raises OSError if the directory itself cannot be read.

    Unless `trusting`, what others than its owner may write or what leads out of the directory is a problem. What is as
    it was `before` is taken from there: with 10,000 files that is most of the work.
    """
    forget_groups()
    stat = root.stat()
    entries = _list(root)
    listing = Listing(_identify(stat))
    listing.directories[root] = stat.st_ino
    walk = _Walk(excluded, None if trusting else root.resolve(), listing, before.plain if before else {})
    try:
        walk.check(root, stat)
    except UnsafeFile as error:
        listing.problems[root] = error.detail
        return listing
    for entry in entries:
        walk.take(entry, frozenset({listing.identity}))
    return listing


def scan_files(paths: Iterable[Path], root: Path, before: Listing, *, trusting: bool = True) -> Listing | None:
    """Return what these files are now, those left out that are gone; None where only a look at everything can tell.

    That is so for directories, links, and whatever is in a place that was not there `before`. Raises OSError.
    """
    stat = root.stat()
    listing = Listing(_identify(stat), directories=before.directories)
    if listing.identity != before.identity or before.has_links:
        return None
    walk = _Walk(frozenset(), None if trusting else root, listing, {})
    return listing if all(walk.take_alone(path) for path in paths) else None


def find_manifests(path: Path) -> list[Path]:
    """Return the manifests that a path of a command line means: the file itself, or all below the directory."""
    if path.is_dir():
        return sorted(scan_directory(path, frozenset({path / "status", path / "workspaces"})).files)
    return [path]


def is_manifest_name(name: str) -> bool:
    """Tell whether a file of this name is a manifest: no dotfile, no editor's backup or lock."""
    return name.endswith(SUFFIXES) and not name.startswith((".", "#"))


@dataclass(frozen=True)
class _Walk:
    """One way through the tree; `real_root` is None for one that believes everything."""

    excluded: frozenset[Path]
    real_root: Path | None
    listing: Listing
    plain: Mapping[str, tuple[_Mark, Path, Fingerprint]]

    def take(self, entry: os.DirEntry[str], above: frozenset[Identity]) -> None:
        """Take what an entry holds into the listing; `above` are the directories it is in."""
        if entry.name.startswith(".") or self._is_as_before(entry):
            return
        path = Path(entry.path)
        if path not in self.excluded:
            self._try(path, lambda: self._take_new(entry, path, above))

    def take_alone(self, path: Path) -> bool:
        """Take one file into the listing; False if that is not enough."""
        if path in self.listing.directories or path.parent not in self.listing.directories:
            return False
        try:
            stat = path.lstat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        if not S_ISREG(stat.st_mode):
            return False
        if is_manifest_name(path.name):
            self._try(path, lambda: self._take_plain(path, stat))
        return True

    def _is_as_before(self, entry: os.DirEntry[str]) -> bool:
        known = self.plain.get(entry.path)
        if known is None or entry.is_symlink():
            return False
        try:
            stat = entry.stat(follow_symlinks=False)
        except OSError:
            return False
        if _mark(stat) != known[0]:
            return False
        self.listing.files[known[1]] = known[2]
        self.listing.plain[entry.path] = known
        return True

    def _try(self, path: Path, take: Callable[[], None]) -> None:
        try:
            take()
        except FileNotFoundError:
            return  # gone between listing and looking; the next scan knows
        except UnsafeFile as error:
            self.listing.problems[path] = error.detail
        except OSError as error:
            self.listing.problems[path] = error.strerror or str(error)

    def _take_new(self, entry: os.DirEntry[str], path: Path, above: frozenset[Identity]) -> None:
        if entry.is_dir():
            self._take_directory(entry, path, above)
        elif is_manifest_name(entry.name):
            self._take_file(entry, path)

    def check(self, path: Path, stat: os.stat_result, *, is_link: bool = False) -> None:
        """Raise UnsafeFile for what is not to be believed."""
        if self.real_root is None:
            return
        if is_link:
            check_place(path, path.resolve(), self.real_root)
        check_mode(path, stat)

    def _take_directory(self, entry: os.DirEntry[str], path: Path, above: frozenset[Identity]) -> None:
        stat = entry.stat()
        if _identify(stat) in above:
            return  # a link to where it is itself
        self.check(path, stat, is_link=entry.is_symlink())
        entries = _list(path)
        self.listing.directories[path] = stat.st_ino
        for below in entries:
            self.take(below, above | {_identify(stat)})

    def _take_file(self, entry: os.DirEntry[str], path: Path) -> None:
        stat = entry.stat()
        if not S_ISREG(stat.st_mode):
            self.listing.problems[path] = NOT_REGULAR  # to read a pipe is to wait for its writer
            return
        if not entry.is_symlink():
            self._take_plain(path, stat)
            return
        self.listing.has_links = True
        self.check(path, stat, is_link=True)
        self.listing.files[path] = _build_fingerprint(stat, str(path.readlink()))

    def _take_plain(self, path: Path, stat: os.stat_result) -> None:
        self.check(path, stat)
        fingerprint = _build_fingerprint(stat)
        self.listing.files[path] = fingerprint
        if not stat.st_mode & (S_IWGRP | S_IWOTH) and stat.st_mode & (S_IRGRP | S_IROTH) != S_IRGRP:
            self.listing.plain[str(path)] = (_mark(stat), path, fingerprint)  # who is in which group is not asked


def _build_fingerprint(stat: os.stat_result, target: str = "") -> Fingerprint:
    return Fingerprint(stat.st_mtime_ns, stat.st_size, stat.st_ino, target, find_readers(stat))


def _mark(stat: os.stat_result) -> _Mark:
    return stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_ns, stat.st_size, stat.st_ino


def _list(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _identify(stat: os.stat_result) -> Identity:
    return stat.st_dev, stat.st_ino
