"""What is on disk of nodes, networks and volumes, and what it means.

    ROOT/containers/NAME/     one node: the files of process_files.py, work/ as its own working directory, and
                              what process_mounts.py puts there
    ROOT/networks/NAME.json   one network: a port
    ROOT/volumes/NAME/        one volume: volume.json, and data/ as what it holds
    ROOT/lock                 held while one of these is made or taken away

Any number of threads and programs may use one root at once. Writes are atomic, and what is kept in memory is only what
a file held that is still the same.
This module starts and ends no process.
"""

import fcntl
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from trainlet.engine import process_files as files
from trainlet.engine import process_table as table
from trainlet.engine.process_directories import making, remove
from trainlet.kube.errors import EngineError
from trainlet.planning.observed import ContainerState, ObservedContainer, ObservedNetwork, ObservedVolume

SUBNET = "127.0.0.1/32"
ADDRESS = "127.0.0.1"
R = TypeVar("R", "ContainerRecord", "NetworkRecord", "VolumeRecord")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_KILLED = 137
_VOLUME = "volume.json"
_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class ContainerRecord:
    """What container.json holds. The id is the name and something random, so that no two nodes ever share one."""

    id: str
    name: str
    labels: Mapping[str, str]
    network: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    log_limit_bytes: int
    #: The names of the volumes it refers to. Nodes that were written down by earlier versions have none.
    volumes: tuple[str, ...] = ()
    #: Where what stands at a path of the container really is. Nodes of earlier versions have none.
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VolumeRecord:
    """What volume.json holds."""

    id: str
    name: str
    labels: Mapping[str, str]

    def observe(self) -> ObservedVolume:
        """Build what decisions see of it."""
        return ObservedVolume(self.name, self.labels)


@dataclass(frozen=True)
class NetworkRecord:
    """What a network's file holds."""

    id: str
    name: str
    labels: Mapping[str, str]
    port: int

    def observe(self) -> ObservedNetwork:
        """Build what decisions see of it."""
        return ObservedNetwork(self.id, self.name, self.labels, SUBNET, self.port)


def build_id(name: str) -> str:
    """Make a new id for something of this name. Raises EngineError for a name that is no safe file name."""
    check_name(name)
    return f"{name}@{uuid.uuid4().hex[:12]}"


def check_name(name: str) -> None:
    """Refuse what is no safe file name. Raises EngineError."""
    if not _SAFE_NAME.fullmatch(name):
        raise EngineError(
            f"the process engine cannot use the name {name!r}", remedy="use letters, digits, '-', '.', '_'"
        )


class Records:
    """Everything below one root. Finding needs nothing to exist; only adding makes directories."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[tuple[int, ...], Any]] = {}
        self.containers = root / "containers"
        self.networks = root / "networks"
        self.volumes = root / "volumes"

    def directory(self, name: str) -> Path:
        """Return where the files of the node of this name are."""
        return self.containers / name

    def find_container(self, id: str) -> ContainerRecord | None:
        """Find a node by id or by name."""
        return self._find(self.containers, id, f"/{files.CONTAINER}", _build_container)

    def find_network(self, id: str) -> NetworkRecord | None:
        """Find a network by id or by name."""
        return self._find(self.networks, id, ".json", lambda document: NetworkRecord(**document))

    def find_volume(self, name: str) -> VolumeRecord | None:
        """Find a volume by name. Raises EngineError for one that is no safe file name."""
        check_name(name)
        return self._find(self.volumes, name, f"/{_VOLUME}", lambda document: VolumeRecord(**document))

    def volume_data(self, name: str) -> Path:
        """Return the directory that is what a volume holds."""
        return self.volumes / name / "data"

    def list_containers(self) -> list[ContainerRecord]:
        """Return all nodes, by name."""
        return self._list(self.containers, f"/{files.CONTAINER}", _build_container)

    def list_networks(self) -> list[NetworkRecord]:
        """Return all networks, by name."""
        return self._list(self.networks, ".json", lambda document: NetworkRecord(**document))

    def list_volumes(self) -> list[VolumeRecord]:
        """Return all volumes, by name."""
        return self._list(self.volumes, f"/{_VOLUME}", lambda document: VolumeRecord(**document))

    def add_container(self, record: ContainerRecord, furnish: Callable[[Path], None]) -> bool:
        """Write a new node down; False if its name is taken.

        `furnish` puts what else belongs there into the node's directory, before anyone can see it under its name.
        """
        with self._lock():
            self._check_volumes(record)
            with making(self.directory(record.name)) as new:
                if new is None:
                    return False
                (new / "work").mkdir()
                furnish(new)
                files.write_json(f"{new}/{files.CONTAINER}", asdict(record))
        return True

    def _check_volumes(self, record: ContainerRecord) -> None:
        for name in record.volumes:
            if self.find_volume(name) is None:
                raise EngineError(f"there is no volume {name}", where=str(self.volumes), remedy="it is made again")

    def remove_container(self, record: ContainerRecord) -> None:
        """Remove a node's files; one whose name now belongs to another is left alone."""
        with self._lock():
            if self.find_container(record.id):
                remove(self.directory(record.name))

    def add_volume(self, name: str, labels: Mapping[str, str]) -> bool:
        """Write a new volume down, and make it; False if its name is taken."""
        record = VolumeRecord(build_id(name), name, dict(labels))
        with self._lock(), making(self.volumes / name) as new:
            if new is None:
                return False
            (new / "data").mkdir()
            files.write_json(f"{new}/{_VOLUME}", asdict(record))
        return True

    def remove_volume(self, name: str) -> None:
        """Remove a volume; one that is gone counts as done. Raises EngineError while a node refers to it."""
        with self._lock():
            users = [each.name for each in self.list_containers() if name in each.volumes]
            if users:
                remedy = "the nodes that use it have to go first"
                raise EngineError(f"volume {name} is in use by {', '.join(users)}", remedy=remedy)
            if self.find_volume(name):
                remove(self.volumes / name)

    def add_network(self, name: str, labels: Mapping[str, str]) -> bool:
        """Write a new network down with a port that no other one has; False if its name is taken."""
        id = build_id(name)
        with self._lock():
            if self.find_network(name):
                return False
            port = _find_free_port({network.port for network in self.list_networks()})
            record = NetworkRecord(id, name, dict(labels), port)
            files.write_json(str(self.networks / f"{name}.json"), asdict(record))
        return True

    def remove_network(self, id: str) -> None:
        """Remove a network; one that is gone counts as done."""
        with self._lock():
            if record := self.find_network(id):
                (self.networks / f"{record.name}.json").unlink()

    def read_state(self, record: ContainerRecord) -> files.JSON:
        """Read what the supervisor wrote; empty before the first start."""
        return _read(f"{self.directory(record.name)}/{files.STATE}") or {}

    def write_state(self, record: ContainerRecord, state: files.JSON) -> None:
        """Write the state of a node that has no supervisor."""
        files.write_json(f"{self.directory(record.name)}/{files.STATE}", state)

    def observe(self, record: ContainerRecord) -> ObservedContainer:
        """Build what decisions see of a node."""
        state = self.read_state(record)
        if "supervisor" in state and not _is_settled(state) and not is_supervised(state):
            state = self.read_state(record)  # it may have written its last word before it went
            if not _is_settled(state):
                state = state | self._describe_lost(record)
        return ObservedContainer(
            id=record.id,
            name=record.name,
            labels=record.labels,
            state=_state_of(state),
            exit_code=state.get("exit_code"),
            started_at=_parse_time(state.get("started_at")),
            finished_at=_parse_time(state.get("finished_at")),
            error=state.get("error", ""),
            networks=frozenset({record.network} - {""}),
            disrupted=state.get("disrupted", False),
        )

    def _describe_lost(self, record: ContainerRecord) -> files.JSON:
        """Describe the end of a node whose supervisor is gone, the same at every look: when it was last heard of."""
        directory = self.directory(record.name)
        signs = (_find_change(directory / files.STATE), _find_change(directory / files.LOG))
        finished_at = datetime.fromtimestamp(max(signs), UTC).isoformat()
        error = "its supervisor was killed or the machine went down"
        return {"exit_code": _KILLED, "finished_at": finished_at, "error": error, "disrupted": True}

    def _find(self, parent: Path, id: str, suffix: str, build: Callable[[files.JSON], R]) -> R | None:
        name = id.partition("@")[0]
        check_name(name)
        record = self._read_again(f"{parent}/{name}{suffix}", build)
        return record if record is not None and id in (name, record.id) else None

    def _list(self, parent: Path, suffix: str, build: Callable[[files.JSON], R]) -> list[R]:
        ending = "" if suffix.startswith("/") else suffix
        names = (name.removesuffix(ending) for name in _names(parent) if name.endswith(ending))
        records = (self._read_again(f"{parent}/{name}{suffix}", build) for name in names)
        return [record for record in records if record is not None]

    def _read_again(self, path: str, build: Callable[[files.JSON], R]) -> R | None:
        """Read a record, but only if its file is another one than last time: all are looked at for each job's sake."""
        version = _find_version(path)
        known: tuple[tuple[int, ...], R] | None = self._known.get(path)
        if known is None or known[0] != version:
            document = _read(path)
            if document is None:
                self._known.pop(path, None)
                return None
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()  # most of them are gone from disk
            known = self._known[path] = (version, build(document))
        return known[1]

    @contextmanager
    def _lock(self) -> Iterator[None]:
        for directory in (self.containers, self.networks, self.volumes):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._root / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _build_container(document: files.JSON) -> ContainerRecord:
    tuples = {key: tuple(document.get(key, ())) for key in ("argv", "volumes")}
    return ContainerRecord(**document | tuples)


def _find_version(path: str) -> tuple[int, ...]:
    """Return what a file that is written anew has not in common with the one before."""
    try:
        status = os.stat(path)  # noqa: PTH116  of very many files, and a Path takes longer than the look
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_supervised(state: files.JSON) -> bool:
    """Tell whether the supervisor that this state names is alive."""
    supervisor = state.get("supervisor")
    return supervisor is not None and table.is_same_process(supervisor["pid"], supervisor["start"])


def _is_settled(state: files.JSON) -> bool:
    return "exit_code" in state


def _state_of(state: files.JSON) -> ContainerState:
    if "finished_at" in state:
        return ContainerState.EXITED
    return ContainerState.RUNNING if "started_at" in state else ContainerState.CREATED


def _parse_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _names(parent: Path) -> list[str]:
    try:
        return sorted(filter(_SAFE_NAME.fullmatch, os.listdir(parent)))  # noqa: PTH208  as above
    except FileNotFoundError:
        return []


def _read(path: str) -> files.JSON | None:
    try:
        return files.read_json(path)
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot read {path}: {error}", remedy="make it readable or remove it") from error


def _find_free_port(taken: set[int]) -> int:
    while True:
        with socket.socket() as listener:
            listener.bind((ADDRESS, 0))
            port: int = listener.getsockname()[1]
        if port not in taken:
            return port


def _find_change(path: Path) -> float:
    """Return when a file was last changed, 0 for one that is not there (any more)."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0
