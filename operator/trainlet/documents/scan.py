"""A directory of manifests -> its files and their fingerprints. Reads names and stats, never content."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from trainlet.documents.safe_read import NOT_REGULAR, UnsafeFile, check_mode, check_place, forget_groups

SUFFIXES = (".yaml", ".yml", ".json")

#: Device and inode: what tells a directory from another that took its place.
Identity = tuple[int, int]


@dataclass(frozen=True)
class Fingerprint:
    """What changes when a file's content does; `target` is where a symbolic link leads."""

    mtime_ns: int
    size: int
    inode: int
    target: str = ""


@dataclass
class Listing:
    """One look at a directory.

    `directories` are those to watch, with their inodes; `problems` could not be read or are not to be believed.
    """

    identity: Identity
    files: dict[Path, Fingerprint] = field(default_factory=dict)
    directories: dict[Path, int] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)


def scan_directory(root: Path, excluded: frozenset[Path], *, trusting: bool = True) -> Listing:
    """Return all manifests below a directory. Raises OSError if the directory itself cannot be read.

    Unless `trusting`, what others than its owner may write or what leads out of the directory is a problem.
    """
    forget_groups()
    stat = root.stat()
    entries = _list(root)
    listing = Listing(_identify(stat))
    listing.directories[root] = stat.st_ino
    walk = _Walk(excluded, None if trusting else root.resolve(), listing)
    try:
        walk.check(root, stat)
    except UnsafeFile as error:
        listing.problems[root] = error.detail
        return listing
    for entry in entries:
        walk.take(entry, frozenset({listing.identity}))
    return listing


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

    def take(self, entry: os.DirEntry[str], above: frozenset[Identity]) -> None:
        """Take what an entry holds into the listing; `above` are the directories it is in."""
        path = Path(entry.path)
        if entry.name.startswith(".") or path in self.excluded:
            return
        try:
            if entry.is_dir():
                self._take_directory(entry, path, above)
            elif is_manifest_name(entry.name):
                self._take_file(entry, path)
        except FileNotFoundError:
            return  # gone between listing and looking; the next scan knows
        except UnsafeFile as error:
            self.listing.problems[path] = error.detail
        except OSError as error:
            self.listing.problems[path] = error.strerror or str(error)

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
        self.check(path, stat, is_link=entry.is_symlink())
        target = str(path.readlink()) if entry.is_symlink() else ""
        self.listing.files[path] = Fingerprint(stat.st_mtime_ns, stat.st_size, stat.st_ino, target)


def _list(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _identify(stat: os.stat_result) -> Identity:
    return stat.st_dev, stat.st_ino
