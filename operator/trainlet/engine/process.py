"""The process engine: every node is a process group of this machine, beside a small supervisor of its own.

It isolates nothing: no image, no mounts, no limits, no user, no network of its own; process_launch.py and
process_mounts.py say what a node gets instead. All nodes share 127.0.0.1, so each network is a free port. The
supervisor (process_supervisor.py) outlives the operator; everything is found again on disk (process_records.py),
and a process is known by its pid and its start time. Any number of these objects may use one root at once.

It knows nothing of jobs, and keeps nothing in memory but the wish to close.
"""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import trainlet
from trainlet.engine import disk, sockets
from trainlet.engine import process_files as files
from trainlet.engine import process_table as table
from trainlet.engine.base import (
    EngineEvent,
    EngineFacts,
    ExecResult,
    LogLine,
    NameTaken,
    Owner,
    PullProgress,
    Session,
    StartFailed,
    Streams,
)
from trainlet.engine.owners import is_same_volume, read_owners
from trainlet.engine.process_command import run_command
from trainlet.engine.process_launch import build_launch, see_through
from trainlet.engine.process_logs import read_lines
from trainlet.engine.process_mounts import furnish
from trainlet.engine.process_records import (
    ADDRESS,
    ContainerRecord,
    NetworkRecord,
    Records,
    VolumeRecord,
    build_id,
    is_supervised,
)
from trainlet.engine.process_session import ProcessSession
from trainlet.engine.process_supervisor import START_FAILURES
from trainlet.engine.process_watch import Watch
from trainlet.kube.errors import EngineError
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, ImageFacts, Observed
from trainlet.planning.pull_secrets import Login
from trainlet.planning.specs import ContainerSpec, NetworkSpec, VolumeSpec

#: What a user must be told before the first node starts.
ISOLATION_NOTICE = (
    "The process engine isolates nothing: nodes run as you, on this machine, with your files and your network; "
    "images, mounts and limits are ignored."
)

_LOG_LIMIT_BYTES = 50_000_000
_POLL_SECONDS = {"logs": 0.05, "events": 0.1}
_START_TIMEOUT_SECONDS = 30.0
_KILL_TIMEOUT_SECONDS = 10.0
_SOURCE_ROOT = str(Path(trainlet.__file__).parents[1])
#: No site packages and no environment: the supervisor starts fast and the same everywhere.
_SUPERVISOR = (
    *(sys.executable, "-I", "-S", "-c"),
    "import sys; sys.path.append(sys.argv[1]); from trainlet.engine import process_supervisor as node; "
    "node.main(sys.argv[2])",
    _SOURCE_ROOT,
)
_NO_COMMAND = {"exit_code": 128, "error": "no command is given"}
_NOBODY = {"pid": -1, "start": ""}
_START_REMEDIES = {
    126: "give a program that this machine can run",
    127: "install it on this machine or give its full path; the process engine uses no image",
    128: "the process engine has no image to take a command or a directory from: give both in the manifest",
}


class ProcessEngine:
    """Runs nodes as processes; `environ` is where their base environment comes from."""

    name = "process"

    def __init__(self, root: Path, environ: Mapping[str, str], *, log_limit_bytes: int = _LOG_LIMIT_BYTES) -> None:
        self._root = root.absolute()
        self._records = Records(self._root)
        self._environ = dict(environ)
        self._log_limit_bytes = log_limit_bytes
        self._closed = threading.Event()
        self._sessions = Streams()

    @property
    def endpoint(self) -> str:
        """The directory that holds all nodes, as a URL."""
        return self._root.as_uri()

    def ping(self) -> str:
        """Return what stands for a version; processes always answer."""
        return "local processes"

    def find_facts(self) -> EngineFacts:
        """Return how processes run: as this one does."""
        return EngineFacts(self.name)

    def observe(self, owner_uid: str, *, with_volumes: bool = True) -> Observed:
        """Return every node and network of this owner."""
        return Observed(
            containers=tuple(
                self._records.observe(record)
                for record in self._records.list_containers()
                if record.labels.get(labels.OWNER_UID) == owner_uid
            ),
            networks=tuple(
                record.observe()
                for record in self._records.list_networks()
                if record.labels.get(labels.OWNER_UID) == owner_uid
            ),
            volumes=tuple(
                record.observe()
                for record in (self._records.list_volumes() if with_volumes else ())
                if record.labels.get(labels.OWNER_UID) == owner_uid
            ),
        )

    def find_owners(self, store: str) -> frozenset[Owner]:
        """Return the owners of everything labelled with this store."""
        records: list[ContainerRecord | NetworkRecord | VolumeRecord] = [
            *self._records.list_containers(),
            *self._records.list_networks(),
            *self._records.list_volumes(),
        ]
        return read_owners(record.labels for record in records if record.labels.get(labels.STORE) == store)

    def find_image(self, image: str) -> ImageFacts | None:  # noqa: ARG002
        """Return nothing that is known of it, which is all that a node needs."""
        return ImageFacts()

    def pull_image(self, image: str, progress: PullProgress, login: Login | None = None) -> None:
        """Do nothing: no image is needed."""

    def import_image(self, name: str, tar: Iterator[bytes]) -> None:
        """Do nothing: no image is needed."""

    def find_subnets(self) -> frozenset[str]:
        """Return nothing: all nodes share one address."""
        return frozenset()

    def create_network(self, spec: NetworkSpec) -> None:
        """Reserve a port. Raises NameTaken."""
        if self._records.add_network(spec.name, spec.labels):
            return
        existing = self._records.find_network(spec.name)
        if existing and not _are_equal(existing.labels, spec.labels, labels.OWNER_UID):
            raise NameTaken(f"a network {spec.name} of another job exists", where=self.endpoint)

    def remove_network(self, id: str) -> None:
        """Give the port back."""
        self._records.remove_network(id)

    def create_volume(self, spec: VolumeSpec) -> None:
        """Make a directory. Raises NameTaken, EngineError for an unsafe name."""
        if self._records.add_volume(spec.name, spec.labels):
            return
        existing = self._records.find_volume(spec.name)
        if existing and not is_same_volume(existing.labels, spec.labels):
            raise NameTaken(f"a volume {spec.name} of another job exists", where=self.endpoint)

    def remove_volume(self, name: str) -> None:
        """Remove the directory. Raises EngineError while a node refers to it."""
        self._records.remove_volume(name)

    def measure_volume(self, name: str) -> int | None:
        """Return what the files in the directory that is the volume take."""
        return disk.measure(self._records.volume_data(name))

    def find_ports(self, id: str) -> frozenset[int] | None:
        """Return the ports on which processes of the node listen, on any address; None where there is no /proc."""
        record = self._records.find_container(id)
        if record is None or self._records.observe(record).state is not ContainerState.RUNNING:
            return frozenset()
        leader = self._records.read_state(record).get("leader", _NOBODY)
        return sockets.find_process_ports(table.find_members(leader["pid"], leader["start"], record.id))

    def connect(self, id: str, address: str | None, port: int, timeout_seconds: float) -> socket.socket:  # noqa: ARG002
        """Connect to a port that the node itself listens on: all nodes share one address."""
        ports = self.find_ports(id)
        if ports is not None and port not in ports:
            raise ConnectionRefusedError(f"it does not listen on port {port}")
        return socket.create_connection((ADDRESS, port), timeout_seconds)

    def run_in_container(self, id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """Run a command as the node's own was started; it ends with the node at the latest."""
        record = self._get_running(id)
        return run_command(_see(command, record), record.env, record.working_dir, timeout_seconds)

    def open_session(self, id: str, command: Sequence[str], *, with_input: bool, with_terminal: bool) -> Session:
        """Start a command as the node's own was started; it ends with the node at the latest. Raises StartFailed."""
        record = self._get_running(id)
        options = {"with_input": with_input, "with_terminal": with_terminal}
        try:
            return ProcessSession(_see(command, record), record.env, record.working_dir, self._sessions, **options)
        except OSError as error:
            code, what = START_FAILURES.get(error.errno or 0, (126, error.strerror or str(error)))
            name = error.filename or command[0]
            raise StartFailed(f"{name}: {what}", exit_code=code, where=record.name) from None

    def create_container(self, spec: ContainerSpec) -> None:
        """Write down how the node is to be started, and its files. Raises NameTaken, EngineError for an unsafe name."""
        id = build_id(spec.name)
        directory = self._records.directory(spec.name)
        furniture = furnish(spec, directory, self._records.volume_data)
        furnished = replace(spec, mounts=furniture.mounts)
        launch = build_launch(furnished, node=id, environ=self._environ, own_directory=directory / "work")
        record = ContainerRecord(
            id=id,
            name=spec.name,
            labels=dict(spec.labels),
            network=spec.network,
            argv=launch.argv,
            env=launch.env,
            working_dir=launch.working_dir,
            log_limit_bytes=self._log_limit_bytes,
            volumes=tuple(mount.volume for mount in spec.volumes),
            paths=launch.paths,
        )
        if self._records.add_container(record, furniture.put):
            return
        existing = self._records.find_container(spec.name)
        if existing is None or not _are_equal(existing.labels, spec.labels, labels.OWNER_UID, labels.SPEC_HASH):
            raise NameTaken(f"a node {spec.name} of another job or another spec exists", where=self.endpoint)

    def start_container(self, id: str) -> None:
        """Start the node's supervisor; one that runs or has ended counts as done. Raises StartFailed."""
        record = self._get_container(id)
        if not record.argv:
            self._records.write_state(record, _NO_COMMAND)
        elif self._records.observe(record).state == ContainerState.CREATED:
            self._launch(record)
        state = self._records.read_state(record)
        if "error" in state:
            code = state["exit_code"]
            raise StartFailed(state["error"], exit_code=code, where=record.name, remedy=_START_REMEDIES[code])

    def stop_container(self, id: str) -> None:
        """Send SIGTERM to the node's supervisor, which passes it to the node's first process."""
        record = self._records.find_container(id)
        state = self._records.read_state(record) if record else {}
        if "leader" in state and "exit_code" not in state and is_supervised(state):
            table.send_signal(state["supervisor"]["pid"], signal.SIGTERM)

    def kill_container(self, id: str) -> None:
        """Kill all processes of the node, and those that an earlier supervisor left behind."""
        record = self._records.find_container(id)
        if record:
            self._kill(record, self._records.read_state(record))

    def remove_container(self, id: str) -> None:
        """Kill the supervisor and all processes of the node, and remove its files."""
        record = self._records.find_container(id)
        if record is None:
            return
        state = self._records.read_state(record)
        if is_supervised(state):
            table.send_signal(state["supervisor"]["pid"], signal.SIGKILL)
        self._kill(record, state)
        self._records.remove_container(record)

    def read_logs(
        self,
        id: str,
        *,
        follow: bool = False,
        since: datetime | None = None,
        tail: int | None = None,
        streams: Streams | None = None,
    ) -> Iterator[LogLine]:
        """Yield the node's log lines; with `follow` until it ends or nobody wants them any more.

        Raises EngineError if there is no such node.
        """
        record = self._get_container(id)

        def wait() -> bool:
            is_closed = self._closed.wait(_POLL_SECONDS["logs"]) or (streams is not None and streams.closed.is_set())
            return not is_closed and self._may_write(record)

        return self._read_lines(record, since=since, tail=tail, wait=wait if follow else None)

    def watch(self) -> Iterator[EngineEvent]:
        """Yield an event soon after a node or network changed."""
        return Watch(self._records, lambda: not self._closed.wait(_POLL_SECONDS["events"])).events()

    def close(self) -> None:
        """End all streams; nodes go on."""
        self._closed.set()
        self._sessions.close()

    def _read_lines(
        self, record: ContainerRecord, since: datetime | None, tail: int | None, wait: Callable[[], bool] | None
    ) -> Iterator[LogLine]:
        try:
            yield from read_lines(self._records.directory(record.name), since=since, tail=tail, wait=wait)
        except FileNotFoundError:
            raise EngineError(f"{record.name} was removed", where=self.endpoint) from None

    def _get_container(self, id: str) -> ContainerRecord:
        record = self._records.find_container(id)
        if record is None:
            raise EngineError(f"no node {id}", where=self.endpoint)
        return record

    def _get_running(self, id: str) -> ContainerRecord:
        record = self._get_container(id)
        if self._records.observe(record).state is not ContainerState.RUNNING:
            raise EngineError(f"{record.name} does not run", where=self.endpoint)
        return record

    def _may_write(self, record: ContainerRecord) -> bool:
        """Tell whether lines may still come."""
        if self._records.find_container(record.id) is None:
            return False
        seen = self._records.observe(record)
        return seen.exit_code is None

    def _launch(self, record: ContainerRecord) -> None:
        """Run the supervisor's first half, which returns when the node runs or cannot. Raises EngineError."""
        directory = self._records.directory(record.name)
        with (directory / files.COMPLAINTS).open("ab") as complaints:
            subprocess.run(
                [*_SUPERVISOR, str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env=self._environ,
                cwd="/",
                timeout=_START_TIMEOUT_SECONDS,
                check=False,
            )
        state = self._records.read_state(record)
        if not state.keys() & {"started_at", "error"} and not is_supervised(state):
            complaint = (directory / files.COMPLAINTS).read_text(errors="replace").strip()
            if complaint:
                raise EngineError(f"the supervisor broke: {complaint.splitlines()[-1]}", where=str(directory))

    def _kill(self, record: ContainerRecord, state: files.JSON) -> None:
        leader = state.get("leader", _NOBODY)
        if not table.kill_members(leader["pid"], leader["start"], record.id, _KILL_TIMEOUT_SECONDS):
            raise EngineError(f"processes of {record.name} do not die", where=self.endpoint)


def _see(command: Sequence[str], record: ContainerRecord) -> list[str]:
    return [see_through(word, record.paths) for word in command]


def _are_equal(one: Mapping[str, str], other: Mapping[str, str], *keys: str) -> bool:
    return all(one.get(key) == other.get(key) for key in keys)
