"""Seeing that a node or a network changed, by looking again and again; whose it is, and nothing of what it means."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from trainlet.engine import process_files as files
from trainlet.engine import process_table as table
from trainlet.engine.base import EngineEvent
from trainlet.engine.process_records import Records
from trainlet.planning import labels

#: Inode and time of the last change: a file that is written anew has others.
Version = tuple[int, int]
Known = dict[Path, tuple[Version, files.JSON]]
_ABSENT: Version = (0, 0)


class Sight(NamedTuple):
    """What is compared between two looks. The supervisor's life counts, as one that is killed writes nothing."""

    owner_uid: str
    id: str
    state: Version
    is_alive: bool


class Watch:
    """Remembers the last look. `pause` waits a moment and tells whether to look again."""

    def __init__(self, records: Records, pause: Callable[[], bool]) -> None:
        self._records, self._pause = records, pause
        self._read: Known = {}
        self._seen = self._look()

    def events(self) -> Iterator[EngineEvent]:
        """Yield one event for each owner of something that came, changed or went."""
        while self._pause():
            before, self._seen = self._seen, self._look()
            yield from map(EngineEvent, sorted({sight.owner_uid for sight in before ^ self._seen}))

    def _look(self) -> set[Sight]:
        before, self._read = self._read, {}
        sights = {
            self._look_at(directory / files.CONTAINER, directory / files.STATE, before)
            for directory in _list(self._records.containers)
        }
        sights |= {self._look_at(path, None, before) for path in _list(self._records.networks, ".json")}
        return {sight for sight in sights if sight.id}

    def _look_at(self, record: Path, state: Path | None, before: Known) -> Sight:
        _, document = self._read_again(record, before)
        version, status = self._read_again(state, before) if state else (_ABSENT, {})
        owner_uid = document.get("labels", {}).get(labels.OWNER_UID, "")
        return Sight(owner_uid, document.get("id", ""), version, _seems_alive(status))

    def _read_again(self, path: Path, before: Known) -> tuple[Version, files.JSON]:
        """Read a file, but only if it is another one than last time."""
        version = _version_of(path)
        known = before.get(path)
        if known is None or known[0] != version:
            known = version, _read(path)
        self._read[path] = known
        return known


def _list(directory: Path, suffix: str = "") -> list[Path]:
    """Return what is in a directory, the hidden left out. It is done ten times a second, and `glob` takes longer."""
    try:
        return [path for path in directory.iterdir() if path.name.endswith(suffix) and path.name[0] != "."]
    except OSError:
        return []


def _version_of(path: Path) -> Version:
    try:
        status = path.stat()
    except OSError:
        return _ABSENT
    return status.st_ino, status.st_mtime_ns


def _read(path: Path) -> files.JSON:
    """Read what can be read; what cannot is for `observe` to complain about."""
    try:
        return files.read_json(str(path)) or {}
    except (OSError, json.JSONDecodeError):
        return {}


def _seems_alive(state: files.JSON) -> bool:
    """Tell it cheaply: this is asked ten times a second, and a wrong answer delays a hint, no more."""
    return "exit_code" not in state and "supervisor" in state and table.seems_alive(state["supervisor"]["pid"])
