"""The Engine protocol, its errors, and what every engine promises.

An engine decides nothing. It never acts on anything that does not carry our labels, every call has a
timeout, and the calls may be made from several threads at once. What it promises beyond the signatures is
stated method by method and held by `tests/contract/`.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trainlet.kube.errors import EngineError
from trainlet.planning.observed import ImageFacts, Observed
from trainlet.planning.pull_secrets import Login
from trainlet.planning.specs import ContainerSpec, NetworkSpec, VolumeSpec

#: Called with one line for people and, where the engine tells, bytes done and bytes in all.
PullProgress = Callable[[str, int | None, int | None], None]


class EngineUnavailable(EngineError):
    """Nothing answers, or it refuses us: the daemon is down, the socket is missing or may not be used."""


class NameTaken(EngineError):
    """A container, network or volume of this name exists that is not ours to touch."""


class SubnetTaken(EngineError):
    """The subnet overlaps with one that exists: take another."""


class ImageMissing(EngineError):
    """The image is not on this engine."""


class PullFailed(EngineError):
    """The registry or the engine refused to give the image."""


class StartFailed(EngineError):
    """The container was created and cannot run: its command, user or device does not exist in it.

    `exit_code` is the one a kubelet would report: 127 command not found, 126 not executable, else 128.
    """

    def __init__(self, what: str, *, exit_code: int, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.exit_code = exit_code


class OutOfReach(EngineError):
    """This machine has no way to the container's network."""


@dataclass(frozen=True)
class ExecResult:
    """How a command in a container ended, and the last 4 KB of what it wrote to both streams.

    `exit_code` None: it still ran at its timeout and was killed with its children; `is_left`: it could not be.
    """

    exit_code: int | None
    output: str = ""
    is_left: bool = False


class Streams:
    """Open streams, so that `close` ends what waits for them in whatever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[object, Callable[[], None]] = {}
        self.closed = threading.Event()

    def add(self, stream: object, end: Callable[[], None]) -> None:
        """Know a stream, and how to end it; once all are closed it is ended at once."""
        with self._lock:
            self._open[stream] = end
        if self.closed.is_set():
            end()

    def discard(self, stream: object) -> None:
        """Forget a stream."""
        with self._lock:
            self._open.pop(stream, None)

    def close(self) -> None:
        """End every stream; later ones end at once."""
        self.closed.set()
        with self._lock:
            ends = list(self._open.values())
        for end in ends:
            end()


class Session(Protocol):
    """A command that runs in a container, and its streams; any method may wait in a thread of its own until `close`."""

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the command writes as it comes, with its stream: `stdout` or, if it has no terminal, `stderr`.

        It ends with the command, or soon after `close`. What is not taken stops the command, and fills no memory.
        """

    def write(self, data: bytes) -> None:
        """Give the command something to read; blocks while it does not. What it cannot read any more is dropped."""

    def close_input(self) -> None:
        """Let the command's input end."""

    def resize(self, rows: int, columns: int) -> None:
        """Tell the command's terminal its size."""

    def wait(self) -> int | None:
        """Return the exit code once all is read, 127 and 126 as of `run_in_container`; None if it was closed first."""

    def close(self) -> None:
        """End all streams. A command that still runs is killed with its children, as far as at a timeout."""


@dataclass(frozen=True)
class LogLine:
    """One line of a container's log, without its line end. `time` is when the engine got it."""

    text: str
    time: datetime | None = None
    stream: str = "stdout"


@dataclass(frozen=True)
class EngineEvent:
    """Something happened to a thing of this owner: a hint to look again, never a truth to act on."""

    owner_uid: str


@dataclass(frozen=True)
class Owner:
    """A job that has something on the engine."""

    uid: str
    namespace: str
    name: str


@dataclass(frozen=True)
class EngineFacts:
    """How an engine runs. `network_command` connects a rootless one's networks: slirp4netns or pasta.

    `architecture` is its machine's, as images call it (amd64, arm64); empty where it is not known.
    """

    runtime: str
    is_rootless: bool = False
    is_in_vm: bool = False
    network_command: str = ""
    architecture: str = ""


class Engine(Protocol):
    """One container engine, or the machine's own processes."""

    @property
    def name(self) -> str:
        """`docker`, `podman` or `process`."""

    @property
    def endpoint(self) -> str:
        """Where it was found, as a URL."""

    def ping(self) -> str:
        """Return the engine's version. Raises EngineUnavailable."""

    def find_facts(self) -> EngineFacts:
        """Return how the engine runs. Raises EngineUnavailable."""

    def observe(self, owner_uid: str, *, with_volumes: bool = True) -> Observed:
        """Return every container, network and volume labelled with this owner; no images and no ports.

        Without `with_volumes` those are not asked for, which is one call less: for an owner that can have none.
        An exited container's exit code, times and out-of-memory flag are final. A network that has lost
        its name to another is still found, by its label.
        """

    def find_owners(self, store: str) -> frozenset[Owner]:
        """Return the owners of everything labelled with this store."""

    def find_image(self, image: str) -> ImageFacts | None:
        """Return what the image is, so that a container could be created from it; None if it is not here."""

    def pull_image(self, image: str, progress: PullProgress, login: Login | None = None) -> None:
        """Fetch the image, as nobody or with a login; blocks until it is here.

        Raises PullFailed with the registry's own words, EngineError when the engine falls silent.
        """

    def import_image(self, name: str, tar: Iterator[bytes]) -> None:
        """Make an image of this name from the tar stream of a file system, without registry; it replaces one there was.

        The image says nothing of how it is to be started.
        """

    def find_subnets(self) -> frozenset[str]:
        """Return the subnets (CIDR) that this engine's networks have, ours and others'."""

    def create_network(self, spec: NetworkSpec) -> None:
        """Make a network on `spec.subnet`. Raises NameTaken, SubnetTaken.

        One of ours with this name, made by an earlier try, counts as done.
        """

    def remove_network(self, id: str) -> None:
        """Remove a network; one that is gone counts as done."""

    def create_volume(self, spec: VolumeSpec) -> None:
        """Make a named volume, empty. Raises NameTaken.

        One of this owner with this name counts as done. So does, for one without an owner, one without an owner
        that is of the same store or has no labels: it outlives jobs, and people may make it by hand.
        """

    def remove_volume(self, name: str) -> None:
        """Remove a volume with all that is in it; one that is gone counts as done.

        Raises EngineError while a container refers to it, be it running or not.
        """

    def measure_volume(self, name: str) -> int | None:
        """Return how many bytes a volume's files take on disk, those that may be read.

        None where it cannot be told: there is no such volume, it is on another machine, or not ours to look into.
        """

    def find_ports(self, id: str) -> frozenset[int] | None:
        """Return the TCP ports on which processes of the container listen so that its peers can reach them.

        Empty for one that does not run; None where it cannot be told, as of an engine on another machine.
        """

    def connect(self, id: str, address: str | None, port: int, timeout_seconds: float) -> socket.socket:
        """Connect to a TCP port of the container as its peers do; `address` is its own, as its spec has it.

        Raises OSError where nobody answers, OutOfReach, and EngineError for a container that is not there.
        """

    def run_in_container(self, id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """Run a command beside the container's own, as its user and with its environment and working directory.

        A command that is not there ends with 127, one that cannot be executed with 126. At the timeout it is killed
        with its children if this machine can: if the engine runs here, and we may send its processes signals.
        Raises EngineError for a container that does not run.
        """

    def open_session(self, id: str, command: Sequence[str], *, with_input: bool, with_terminal: bool) -> Session:
        """Start a command as `run_in_container` does, and leave its streams and its end to the caller, who closes it.

        Without `with_input` its input is empty. Raises EngineError for a container that does not run. That there is
        no such command is told as StartFailed, or by its output and exit code.
        """

    def create_container(self, spec: ContainerSpec) -> None:
        """Make a container. Raises NameTaken, ImageMissing; EngineError for a volume that is missing.

        One of ours with this name and spec hash, made by an earlier try, counts as done. It has an init as PID 1
        that passes signals on, a rotated log and no restart policy. Volumes and memory begin empty, or as another
        container left them; any user may write to a new volume that has the store's label.

        What `spec.files` holds is there when it starts. An earlier try may have died in between, so whoever finds
        a container created, and wants files or volumes in it, has to make this call again before the start. A file
        goes into what is mounted right at its directory, and raises EngineError if that is read-only or memory;
        deeper in a mount its directory becomes the container's own and shows nothing else. Directories that are
        missing are made, as root's with mode 0755.
        """

    def start_container(self, id: str) -> None:
        """Start it; a running one counts as done. Raises StartFailed when it never can run as it is."""

    def stop_container(self, id: str) -> None:
        """Send SIGTERM and return at once; one that is gone or has ended counts as done."""

    def kill_container(self, id: str) -> None:
        """Send SIGKILL; one that is gone or has ended counts as done."""

    def remove_container(self, id: str) -> None:
        """Kill if need be and remove, at once; one that is gone counts as done."""

    def read_logs(
        self,
        id: str,
        *,
        follow: bool = False,
        since: datetime | None = None,
        tail: int | None = None,
        streams: Streams | None = None,
    ) -> Iterator[LogLine]:
        """Yield the container's log lines; with `follow` until it ends, or `streams` are closed.

        Both of the container's streams, in order of arrival.
        """

    def watch(self) -> Iterator[EngineEvent]:
        """Yield events of our containers and networks until the stream breaks or `close` is called.

        Raises EngineUnavailable when it cannot be opened. Events may be lost, doubled or late.
        """

    def close(self) -> None:
        """End all streams and give back what the engine object itself started."""
