"""What Docker and Podman have in common: one client for many threads, streams that can be closed, the log format.

Knows no library: the two engines give it their client and translate its exceptions.
"""

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from datetime import datetime
from typing import Any

from trainlet.engine import contents, sockets, wire
from trainlet.engine.base import LogLine
from trainlet.engine.explain import Refused
from trainlet.engine.owners import is_made_for
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON
from trainlet.planning.specs import ContainerSpec, VolumeMount

#: More than there are workers, streams and log readers; a thread without a free connection makes a new one.
POOL_SIZE = 32
#: An engine that unpacks a large layer says nothing for minutes.
PULL_SILENCE_SECONDS = 900.0
#: What a signal is refused with when there is nothing left to get it.
_GONE_OR_ENDED = (404, 409)
#: Podman's words, under a 500, for what came too late because the container has just ended.
ENDED_TEXT = "container state improper"
#: The bits of a mode that say who may do what, and what they are in a volume as engines make it: root's.
_PERMISSIONS, _NEW = 0o777, 0o755
#: What Podman says of an archive is lost in all that it knows of the request.
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
        timeout_seconds: float = 60,
        endpoint: str = "",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint or url
        self._url, self._timeout, self._on_close = url, timeout_seconds, on_close
        self._streams = wire.Streams()
        self._client: Any = None
        self._client_lock = threading.Lock()
        # Volumes that are not as the engine made them. A change of a set is one step, so it needs no lock.
        self._known_volumes: set[str] = set()
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
    def _signal(self, id: str, signal: str) -> None:
        """Send a signal. Raises Refused with 404 or 409 when there is nobody to get it."""

    @abstractmethod
    def _inspect(self, id: str) -> JSON | None:
        """Return all there is to say of a container, None if it is not there."""

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
        """Return what may have to be opened to everybody: made for this store, and not yet known to be open.

        Raises EngineError for a volume that is not there: engines would make one that is nobody's.
        """
        for mount in spec.volumes:
            found = self._find_volume(mount.volume)
            if found is None:
                remedy = f"a job's own is made again; make any other: `{self.name} volume create {mount.volume}`"
                raise EngineError(f"there is no volume {mount.volume}", where=self.endpoint, remedy=remedy)
            if not is_made_for(found["Labels"], spec.labels):
                self._known_volumes.add(mount.volume)
        return [each for each in spec.volumes if not each.read_only and each.volume not in self._known_volumes]

    def _fill(self, name: str, layout: contents.Layout, volumes: Sequence[VolumeMount]) -> None:
        """Put all files, and let every user write in new volumes, as in most that a cluster makes."""
        try:
            targets = [contents.clean(each.target) for each in volumes]
            opened = [path for path in targets if self._stat(name, path).get("mode", 0) & _PERMISSIONS == _NEW]
            for path, tar in contents.build_archives(layout, opened):
                with nullcontext() if path == contents.ROOT else self._shared_lock:
                    self._put_archive(name, path, tar)
        except EngineError:
            # What lacks its files must not be there to be started.
            with suppress(EngineError):
                self.remove_container(name)
            raise
        self._known_volumes.update(each.volume for each in volumes)

    def _stat(self, name: str, path: str) -> JSON:
        """Return what a path in a container is; nothing if it is not there."""
        doing, url = f"look at {path} in container {name}", f"containers/{name}/archive"
        options = {"params": {"path": path}, "timeout": self._timeout}
        with self._asking(doing) as client, closing(self._open(client, "HEAD", url, **options)) as response:
            return wire.read_path_stat(response.headers)

    def _put_archive(self, name: str, path: str, tar: bytes) -> None:
        """Unpack a tar in a directory of the container, its ids being those inside."""
        doing = f"put files into {path} of container {name}"
        query = {"path": path, "copyUIDGID": "false", "noOverwriteDirNonDir": "true"}
        options = {"params": query, "headers": {"Content-Type": "application/x-tar"}, "timeout": self._timeout}
        with self._asking(doing) as client:
            response = self._open(client, "PUT", f"containers/{name}/archive", data=tar, **options)
            text = wire.read_message(response)
        if response.status_code >= 400:
            raise Refused(doing, status=response.status_code, text=_DUMP.sub("", text), where=self.endpoint)

    def find_ports(self, id: str) -> frozenset[int] | None:
        """Return the TCP ports that the container's peers can reach; None if it does not run on this machine."""
        found = self._inspect(id)
        pid = found["State"]["Pid"] if found else 0
        if found is None or not pid:
            return frozenset()
        return sockets.find_container_ports(pid, found["Id"], (found["Path"], *(found["Args"] or ())))

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
    ) -> Iterator[LogLine]:
        """Yield the container's log lines; with `follow` until it ends."""
        query = wire.build_log_query(since, tail, follow=follow)
        silence = None if follow else self._timeout
        try:
            yield from wire.decode_log(self._stream("GET", f"containers/{id}/logs", query, silence))
        except wire.StreamBroken:
            if not self._streams.closed.is_set():
                raise

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
    ) -> Iterator[bytes]:
        """Yield a response's chunks; it breaks when nothing comes for `silence_seconds`."""
        timeout = (self._timeout, silence_seconds)
        with self._asking(f"read {path}") as client:
            response = self._open(client, method, path, params=query, headers=headers, timeout=timeout)
        if response.status_code >= 400:
            text = wire.read_message(response)
            raise Refused(f"read {path}", status=response.status_code, text=text, where=self.endpoint)
        with self._streams.reading(response) as chunks:
            yield from chunks
