"""What skimming found in the documents of finished jobs, kept in one file: to open ten thousand takes seconds.

A line of JSON a document; of several of one job the last counts, and only for the very file that it was made of. So
it is a help and no truth: lines may be missing, out of date or torn, and the file may go.
"""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainlet.documents.skim import Unclear, skim
from trainlet.kube.meta import JSON

FILE = ".finished"
#: Namespace and name of a job.
Place = tuple[str, str]
#: Inode, time of the last change, size: a document that is written anew has others.
Version = tuple[int, int, int]
Line = tuple[Version, list[JSON]]


class SkimIndex:
    """The index of one status directory; `root` is where it is, and its documents below."""

    def __init__(self, root: Path) -> None:
        self._root, self._path = str(root), root / FILE
        self._lines: Mapping[Place, Line] = {}
        self._outdated = 0

    def read(self) -> "SkimIndex":
        """Take up what is in the file."""
        with suppress(OSError):
            lines = list(_parse(self._path.read_bytes()))
            self._lines = dict(lines)
            self._outdated = len(lines) - len(self._lines)
        return self

    def skim(self, place: Place) -> list[JSON]:
        """Return what `skim` finds in a job's document, be it read or known. Raises Unclear, OSError, ValueError."""
        return self._lines[place][1] if self._is_current(place) else self._read(place)[1]

    def add(self, place: Place) -> None:
        """Remember a job's document, as far as that can be."""
        with suppress(OSError, ValueError, Unclear), self._path.open("a", encoding="utf-8") as file:
            file.write(_format(place, self._read(place)))

    def bring_up(self, places: Collection[Place]) -> None:
        """Leave one good line for each of these jobs and no other, as far as that can be."""
        if not self._outdated and self._lines.keys() == set(places) and all(map(self._is_current, places)):
            return
        from trainlet.documents.write import write_atomic  # YAML takes its time to import

        good: dict[Place, Line] = {}
        for place in places:
            with suppress(OSError, ValueError, Unclear):
                good[place] = self._read(place)
        with suppress(OSError):
            write_atomic(self._path, "".join(_format(place, line) for place, line in good.items()))

    def _is_current(self, place: Place) -> bool:
        """Tell whether a job's line is of its document as it is now. Raises OSError for one that is not there."""
        known = self._lines.get(place)
        return known is not None and known[0] == _get_version(os.stat(self._locate(place)))  # noqa: PTH116 - far quicker

    def _locate(self, place: Place) -> str:
        return f"{self._root}/{place[0]}/{place[1]}.yaml"

    def _read(self, place: Place) -> Line:
        with open(self._locate(place), "rb") as file:  # noqa: PTH123 - far quicker
            return _get_version(os.fstat(file.fileno())), skim(file.read().decode())


def _parse(data: bytes) -> Iterator[tuple[Place, Line]]:
    for line in _load(list(filter(None, data.split(b"\n")))):
        with suppress(ValueError, TypeError):
            (namespace, name), version, documents = line
            yield (namespace, name), (tuple(version), documents)


def _load(lines: Sequence[bytes]) -> Iterable[Any]:
    """Return what the lines say: all at once, which takes half the time, or if one is torn one by one."""
    try:
        return list(json.loads(b"[%s]" % b",".join(lines)))
    except ValueError:
        return list(_load_each(lines))


def _load_each(lines: Iterable[bytes]) -> Iterator[Any]:
    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)


def _format(place: Place, line: Line) -> str:
    """Return a line, on one of its own whatever is before it."""
    return f"\n{json.dumps([place, *line], separators=(',', ':'))}\n"


def _get_version(status: os.stat_result) -> Version:
    return status.st_ino, status.st_mtime_ns, status.st_size
