"""What Docker and Podman have in common: one client for many threads, streams that can be closed, the log format.

Knows no library: the two engines give it their client and translate its exceptions.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from trainlet.engine import wire
from trainlet.engine.base import LogLine
from trainlet.engine.explain import Refused

#: More than there are workers, streams and log readers; a thread without a free connection makes a new one.
POOL_SIZE = 32
#: An engine that unpacks a large layer says nothing for minutes.
PULL_SILENCE_SECONDS = 900.0
#: What a signal is refused with when there is nothing left to get it.
_GONE_OR_ENDED = (404, 409)
#: Podman's words, under a 500, for what came too late because the container has just ended.
ENDED_TEXT = "container state improper"


class HttpEngine(ABC):
    """The common part. `on_close` gives back what was started to reach the engine: a service, a tunnel."""

    name: str

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
