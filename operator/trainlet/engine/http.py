"""What Docker and Podman have in common: one client for many threads, streams that can be closed, the log format.

Knows no library: the two engines give it their client and translate its exceptions.
"""

import json
import re
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from datetime import datetime
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any

from trainlet.engine import contents, disk, explain, namespaces, sockets, wire
from trainlet.engine.base import EngineFacts, ExecResult, LogLine, OutOfReach, Session, Streams
from trainlet.engine.explain import Refused
from trainlet.engine.http_commands import Commands, describe
from trainlet.engine.http_sessions import HttpSession, upgrade
from trainlet.engine.owners import is_made_for
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON
from trainlet.planning.specs import ContainerSpec, VolumeMount

#: More than there are workers, streams and log readers; a thread without a free connection makes a new one.
POOL_SIZE = 32
#: What only looks is answered in a moment, however busy the engine is: one that takes longer hangs.
ANSWER_SECONDS = 10.0
#: What changes something takes the machine's time: a start that waits for a slow disk or a device. It is idempotent, so
#: that one that is done after it was given up is found done.
CHANGE_SECONDS = 60.0
#: Events may have nothing to tell, or their stream may be dead without an end, as after a machine slept: it is opened
#: anew. Passes look at what happened in between, by themselves and no later.
EVENTS_SILENCE_SECONDS = 30.0
#: An engine that unpacks a large layer says nothing for minutes.
PULL_SILENCE_SECONDS = 900.0
#: What typed in a terminal cuts it from its command; a shell's users do type what engines take for it by themselves.
_NEVER_TYPED = "ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^"
#: What a signal is refused with when there is nothing left to get it.
_GONE_OR_ENDED = (404, 409)
#: Podman's words, under a 500, for what came too late because the container has just ended.
ENDED_TEXT = "container state improper"
#: The bits of a mode that say who may do what; what they are in a volume as engines make it: root's; what they become.
_PERMISSIONS, _NEW, _EVERYBODY = 0o777, 0o755, 0o777
#: What a kubelet adds for a group of a pod's files: its members may write, and what is made in there is theirs too.
_GROUPS_OWN = 0o2070
#: What Podman says of an archive is lost in all that it knows of the request.
_JSON = {"Content-Type": "application/json"}
_DUMP = re.compile(r" for copier\.request\{.*\}")


class HttpEngine(ABC):
    """The common part. `on_close` gives back what was started to reach the engine: a service, a tunnel."""

    name: str
    #: Whether an archive can be put into an image's file system that the container sees read-only.
    fills_read_only_root: bool

    def __init__(
        self,
        url: str,
        *,
        endpoint: str = "",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint or url
        self._url, self._on_close = url, on_close
        self._streams = Streams()
        self._client: Any = None
        self._client_lock = threading.Lock()
        # Volumes that are not as the engine made them, and their groups. A change is one step, so it needs no lock.
        self._known_volumes: dict[str, int | None] = {}
        # Podman fails over two archives with one file that come to one volume at once.
        self._shared_lock = threading.Lock()

    @abstractmethod
    def _connect(self) -> Any:
        """Make the library's client."""

    @abstractmethod
    def _asking(self, doing: str) -> AbstractContextManager[Any]:
        """Give the client for one call; what it raises becomes Refused or EngineUnavailable."""

    @abstractmethod
    def _open(self, client: Any, method: str, path: str, **options: Any) -> Any:
        """Send a request below the API's root and return the response, its body unread."""

    @abstractmethod
    def _get_root(self, client: Any) -> str:
        """Return the path that all requests begin with."""

    @abstractmethod
    def _signal(self, id: str, signal: str) -> None:
        """Send a signal. Raises Refused with 404 or 409 when there is nobody to get it."""

    @abstractmethod
    def _inspect(self, id: str) -> JSON | None:
        """Return all there is to say of a container, None if it is not there."""

    @abstractmethod
    def find_facts(self) -> EngineFacts:
        """Return how the engine runs."""

    @abstractmethod
    def _find_volume(self, name: str) -> JSON | None:
        """Return all there is to say of a volume, None if it is not there."""

    @abstractmethod
    def _make_container(self, spec: ContainerSpec, covers: Sequence[str]) -> bool:
        """Make a container, with a volume of its own on each of `covers`; False if it is there and was started."""

    @abstractmethod
    def remove_container(self, id: str) -> None:
        """Kill if need be and remove, with its anonymous volumes."""

    def create_container(self, spec: ContainerSpec) -> None:
        """Make a container, attached to its job's network, with its files in it."""
        volumes = self._find_new_volumes(spec)
        into_root = self.fills_read_only_root or not spec.privileges.read_only_root
        layout = contents.lay_out(spec, into_root=into_root)
        if self._make_container(spec, layout.covers):
            self._fill(spec.name, layout, volumes)

    def _find_new_volumes(self, spec: ContainerSpec) -> list[VolumeMount]:
        """Return what may have to be opened to its users: made for this store, and not yet known to be open.

        Raises EngineError for a volume that is not there: engines would make one that is nobody's.
        """
        for mount in spec.volumes:
            found = self._find_volume(mount.volume)
            if found is None:
                remedy = f"a job's own is made again; make any other: `{self.name} volume create {mount.volume}`"
                raise EngineError(f"there is no volume {mount.volume}", where=self.endpoint, remedy=remedy)
            if not is_made_for(found["Labels"], spec.labels):
                self._known_volumes[mount.volume] = mount.group
        known = self._known_volumes
        return [v for v in spec.volumes if not v.read_only and (v.volume not in known or known[v.volume] != v.group)]

    def _fill(self, name: str, layout: contents.Layout, volumes: Sequence[VolumeMount]) -> None:
        """Put all files, and open volumes to their users: new ones to all, as a cluster mostly does."""
        try:
            access = {contents.clean(each.target): self._judge_access(name, each) for each in volumes}
            opened = {path: each for path, each in access.items() if each is not None}
            for path, tar in contents.build_archives(layout, opened):
                with nullcontext() if path == contents.ROOT else self._shared_lock:
                    self._put_archive(name, path, tar)
        except EngineError:
            # What lacks its files must not be there to be started.
            with suppress(EngineError):
                self.remove_container(name)
            raise
        self._known_volumes.update({each.volume: each.group for each in volumes})

    def _judge_access(self, name: str, mount: VolumeMount) -> contents.Access | None:
        """Return how a volume's directory is to be opened; None: it stays as it is."""
        found = self._stat(name, contents.clean(mount.target)).get("mode", 0) & _PERMISSIONS
        mode = _EVERYBODY if found == _NEW else found
        if mount.group is not None:
            return contents.Access(mode | _GROUPS_OWN, mount.group)
        return contents.Access(mode) if mode != found else None

    def _stat(self, name: str, path: str) -> JSON:
        """Return what a path in a container is; nothing if it is not there."""
        doing, url = f"look at {path} in container {name}", f"containers/{name}/archive"
        options = {"params": {"path": path}, "timeout": CHANGE_SECONDS}  # it mounts the container's file system
        with self._asking(doing) as client, closing(self._open(client, "HEAD", url, **options)) as response:
            return wire.read_path_stat(response.headers)

    def _put_archive(self, name: str, path: str, tar: bytes) -> None:
        """Unpack a tar in a directory of the container, its ids being those inside."""
        doing = f"put files into {path} of container {name}"
        query = {"path": path, "copyUIDGID": "false", "noOverwriteDirNonDir": "true"}
        options = {"params": query, "headers": {"Content-Type": "application/x-tar"}, "timeout": CHANGE_SECONDS}
        with self._asking(doing) as client:
            response = self._open(client, "PUT", f"containers/{name}/archive", data=tar, **options)
            text = wire.read_message(response)
        if response.status_code >= 400:
            raise Refused(doing, status=response.status_code, text=_DUMP.sub("", text), where=self.endpoint)

    def measure_volume(self, name: str) -> int | None:
        """Return what a volume's files take, where the engine keeps them on this machine."""
        found = self._find_volume(name)
        return disk.measure(Path(found["Mountpoint"])) if found is not None and found.get("Mountpoint") else None

    def find_ports(self, id: str) -> frozenset[int] | None:
        """Return the TCP ports that the container's peers can reach; None if it does not run on this machine."""
        return self._find_listening(id)[1]

    def _find_listening(self, id: str) -> tuple[int, frozenset[int] | None]:
        """Return the container's first process, 0 if it does not run, and the ports as `find_ports` does."""
        found = self._inspect(id)
        pid = found["State"]["Pid"] if found else 0
        if found is None or not pid:
            return 0, frozenset()
        return pid, sockets.find_container_ports(pid, found["Id"])

    @cached_property
    def _is_rootless(self) -> bool:
        return self.find_facts().is_rootless

    def connect(self, id: str, address: str | None, port: int, timeout_seconds: float) -> socket.socket:
        """Connect to a port of the container, from within its own network where this machine has no route to that."""
        pid, ports = self._find_listening(id)
        if ports is None or address is None:
            raise OutOfReach("this machine has no way to the container's network", where=self.endpoint)
        if port not in ports:
            raise ConnectionRefusedError(f"nothing listens on port {port}")
        if self._is_rootless:
            return namespaces.connect(pid, address, port, timeout_seconds)
        return socket.create_connection((address, port), timeout_seconds)

    def run_in_container(self, id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult:
        """Run a command beside the container's own."""
        commands = Commands(self._stream, ANSWER_SECONDS, self._streams.closed)
        return commands.run(id, command, timeout_seconds, lambda: self._find_listening(id)[1] is not None)

    def open_session(self, id: str, command: Sequence[str], *, with_input: bool, with_terminal: bool) -> Session:
        """Start a command beside the container's own, on a connection of its own."""
        commands = Commands(self._stream, ANSWER_SECONDS, self._streams.closed)
        more = {"AttachStdin": with_input, "Tty": with_terminal, "DetachKeys": _NEVER_TYPED}
        name, doing = commands.prepare(id, command, **more), describe(id, command)
        with self._asking(doing) as client:
            path = f"{self._get_root(client)}/exec/{name}/start"
        try:
            taken = upgrade(self._url, path, {"Detach": False, "Tty": with_terminal}, doing, CHANGE_SECONDS)
        except Refused as refused:
            raise explain.build_start_error(refused) from refused
        except (OSError, HTTPException) as error:
            raise explain.build_unreachable(error, self.name, self.endpoint) from error
        control = commands.control(name, doing, lambda: self._find_listening(id)[1] is not None)
        return HttpSession(taken, control, self._streams, with_terminal=with_terminal)

    def stop_container(self, id: str) -> None:
        """Send SIGTERM and return at once."""
        self._signal_if_running(id, "SIGTERM")

    def kill_container(self, id: str) -> None:
        """Send SIGKILL."""
        self._signal_if_running(id, "SIGKILL")

    def _signal_if_running(self, id: str, signal: str) -> None:
        try:
            self._signal(id, signal)
        except Refused as refused:
            if refused.status not in _GONE_OR_ENDED and ENDED_TEXT not in refused.text:
                raise

    def read_logs(
        self,
        id: str,
        *,
        follow: bool = False,
        since: datetime | None = None,
        tail: int | None = None,
        streams: Streams | None = None,
    ) -> Iterator[LogLine]:
        """Yield the container's log lines; with `follow` until it ends or nobody wants them any more."""
        query = wire.build_log_query(since, tail, follow=follow)
        silence = None if follow else ANSWER_SECONDS
        more, is_empty = [streams] if streams is not None else [], True
        try:
            for line in wire.decode_log(self._stream("GET", f"containers/{id}/logs", query, silence, streams=more)):
                is_empty = False
                yield line
        except wire.StreamBroken:
            # Only who follows has what there was; any other would take a part for the whole.
            if not (follow and any(each.closed.is_set() for each in (self._streams, *more))):
                raise
            return
        if is_empty and self._inspect(id) is None:  # while they remove it, engines say that it wrote nothing
            raise EngineError(f"container {id[:20]} went before its log could be read", where=self.endpoint)

    def _follow_events(self, query: dict[str, str]) -> Iterator[JSON]:
        """Yield what the engine tells until its stream breaks; one that falls silent is opened anew."""
        with suppress(wire.StreamBroken):
            while True:
                try:
                    yield from wire.decode_json_lines(self._stream("GET", "events", query, EVENTS_SILENCE_SECONDS))
                    return
                except wire.StreamSilent:
                    continue

    def close(self) -> None:
        """End all streams, close the connections, give back what was started."""
        self._streams.close()
        with self._client_lock:
            if self._client is not None:
                self._client.close()
        self._on_close()

    def _get_client(self) -> Any:
        """Connect at the first call, not before: the daemon may come up later."""
        with self._client_lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _stream(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        silence_seconds: float | None,
        headers: dict[str, str] | None = None,
        *,
        body: JSON | None = None,
        doing: str = "",
        streams: Sequence[Streams] = (),
    ) -> Iterator[bytes]:
        """Yield a response's chunks; it breaks when nothing comes for `silence_seconds`."""
        options: dict[str, Any] = {"params": query, "headers": headers, "timeout": (ANSWER_SECONDS, silence_seconds)}
        options |= {"data": json.dumps(body), "headers": _JSON} if body is not None else {}
        doing = doing or f"read {path}"
        with self._asking(doing) as client:
            response = self._open(client, method, path, **options)
            text = wire.read_message(response) if response.status_code >= 400 else None
        if text is not None:
            raise Refused(doing, status=response.status_code, text=text, where=self.endpoint)
        with wire.reading(response, self._streams, *streams) as chunks:
            yield from chunks
