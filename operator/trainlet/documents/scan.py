"""A directory of manifests -> its files and their fingerprints. Reads names and stats, never content."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = (".yaml", ".yml", ".json")


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
    listing.directories[root] = root.stat().st_ino
    for entry in _list(root):
        _take(entry, excluded, listing)
    return listing


def find_manifests(path: Path) -> list[Path]:
    """Return the manifests that a path of a command line means: the file itself, or all below the directory."""
    if path.is_dir():
        return sorted(scan_directory(path, frozenset({path / "status", path / "workspaces"})).files)
    return [path]


def is_manifest_name(name: str) -> bool:
    """Tell whether a file of this name is a manifest: no dotfile, no editor's backup or lock."""
    return name.endswith(SUFFIXES) and not name.startswith((".", "#"))


def _list(directory: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        yield from sorted(entries, key=lambda entry: entry.name)


def _take(entry: os.DirEntry[str], excluded: frozenset[Path], listing: Listing) -> None:
    path = Path(entry.path)
    if entry.name.startswith(".") or path in excluded:
        return
    try:
        if entry.is_dir():
            listing.directories[path] = entry.inode()
            for below in _list(path):
                _take(below, excluded, listing)
        elif is_manifest_name(entry.name):
            stat = entry.stat()
            target = str(path.readlink()) if entry.is_symlink() else ""
            listing.files[path] = Fingerprint(stat.st_mtime_ns, stat.st_size, stat.st_ino, target)
    except FileNotFoundError:
        return  # gone between listing and looking; the next scan knows
    except OSError as error:
        listing.problems[path] = error.strerror or str(error)
