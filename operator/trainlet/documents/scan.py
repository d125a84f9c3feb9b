"""A directory of manifests -> its files and their fingerprints. Reads names and stats, never content."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

SUFFIXES = (".yaml", ".yml", ".json")

_Identity = tuple[int, int]


@dataclass(frozen=True)
class Fingerprint:
    """What changes when a file's content does; `target` is where a symbolic link leads."""

    mtime_ns: int
    size: int
    inode: int
    target: str = ""


@dataclass
class Listing:
    """One look at a directory. `directories` are those to watch, with their inodes; `problems` could not be read."""

    files: dict[Path, Fingerprint] = field(default_factory=dict)
    directories: dict[Path, int] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)


def scan_directory(root: Path, excluded: frozenset[Path]) -> Listing:
    """Return all manifests below a directory. Raises OSError if the directory itself cannot be read."""
    listing = Listing()
    stat = root.stat()
    entries = _list(root)
    listing.directories[root] = stat.st_ino
    for entry in entries:
        _take(entry, excluded, frozenset({_identify(stat)}), listing)
    return listing


def find_manifests(path: Path) -> list[Path]:
    """Return the manifests that a path of a command line means: the file itself, or all below the directory."""
    if path.is_dir():
        return sorted(scan_directory(path, frozenset({path / "status", path / "workspaces"})).files)
    return [path]


def is_manifest_name(name: str) -> bool:
    """Tell whether a file of this name is a manifest: no dotfile, no editor's backup or lock."""
    return name.endswith(SUFFIXES) and not name.startswith((".", "#"))


def _list(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _take(entry: os.DirEntry[str], excluded: frozenset[Path], above: frozenset[_Identity], listing: Listing) -> None:
    """Take what an entry holds into the listing; `above` are the directories it is in."""
    path = Path(entry.path)
    if entry.name.startswith(".") or path in excluded:
        return
    try:
        if entry.is_dir():
            _take_directory(entry, path, excluded, above, listing)
        elif is_manifest_name(entry.name):
            _take_file(entry, path, listing)
    except FileNotFoundError:
        return  # gone between listing and looking; the next scan knows
    except OSError as error:
        listing.problems[path] = error.strerror or str(error)


def _take_directory(
    entry: os.DirEntry[str], path: Path, excluded: frozenset[Path], above: frozenset[_Identity], listing: Listing
) -> None:
    stat = entry.stat()
    if _identify(stat) in above:
        return  # a link to where it is itself
    entries = _list(path)
    listing.directories[path] = stat.st_ino
    for below in entries:
        _take(below, excluded, above | {_identify(stat)}, listing)


def _take_file(entry: os.DirEntry[str], path: Path, listing: Listing) -> None:
    stat = entry.stat()
    if not S_ISREG(stat.st_mode):
        listing.problems[path] = "not a regular file"  # to read a pipe is to wait for its writer
        return
    target = str(path.readlink()) if entry.is_symlink() else ""
    listing.files[path] = Fingerprint(stat.st_mtime_ns, stat.st_size, stat.st_ino, target)


def _identify(stat: os.stat_result) -> _Identity:
    return stat.st_dev, stat.st_ino
