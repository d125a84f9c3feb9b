"""One connection of a server: HTTP as uvicorn speaks it, with an end to every wait. Knows nothing of what is served."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


@dataclass(frozen=True)
class Bounds:
    """What a server's clients may take. The times are those of upstream (kubeflow/trainer pkg/statusserver).

    `read_seconds` for the handshake, and for a request from its first byte to its last; `write_seconds` for its
    answer; `idle_seconds` from then to the next request. After `renewal_seconds` the certificate is looked at again.
    With `streams` an answer may take any time; `write_seconds` is then how long a client may take nothing of it.
    """

    connections: int = 256
    read_seconds: float = 10.0
    write_seconds: float = 10.0
    idle_seconds: float = 120.0
    renewal_seconds: float = 6 * 3600.0
    streams: bool = False


DEFAULT_BOUNDS = Bounds()
MOST_HEAD_BYTES = 1 << 16  # of a request: the command that kubectl exec runs is in there
# uvicorn speaks HTTP by one of two classes, which are alike in all that is used here and have no base in common.
if TYPE_CHECKING:
    _Protocol = H11Protocol
else:
    _Protocol = object


class Connection(_Protocol):
    """One of uvicorn's protocols under a timer that always runs. `on_answer` is called after every request."""

    def __init__(self, config: Config, state: ServerState, bounds: Bounds, on_answer: Callable[[], None]) -> None:
        super().__init__(config, state, {"connection": self})
        self._bounds, self._on_answer = bounds, on_answer
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle, self._is_answering = False, False
        self.is_trusted = False  # an application says so: it is then the last to go if there are too many
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait(self._bounds.read_seconds)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request that begins with these bytes."""
        if self._is_idle:
            self._is_idle = False
            self._wait(self._bounds.read_seconds)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of one that came in the same breath."""
        super().on_response_complete()
        self._is_idle, self._is_answering = self.cycle.response_complete, False
        self._wait(self._bounds.idle_seconds if self._is_idle else self._bounds.read_seconds)
        self._on_answer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop_waiting()
        self.ended.set()

    def handle_websocket_upgrade(self, *request: Any) -> None:
        """Leave the connection to what speaks WebSocket, and still see its end."""
        self._stop_waiting()
        super().handle_websocket_upgrade(*request)
        successor = self.transport.get_protocol()
        lose = successor.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            lose(exc)
            self.ended.set()

        successor.connection_lost = connection_lost  # type: ignore[method-assign]

    def pause_writing(self) -> None:
        """Wait for a client that does not take what it is sent."""
        super().pause_writing()
        if self._bounds.streams:
            self._is_answering = True
            self._wait(self._bounds.write_seconds)

    def resume_writing(self) -> None:
        """Stop waiting for the client."""
        super().resume_writing()
        if self._bounds.streams:
            self._stop_waiting()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._expire)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        if self._is_read() and not self._is_answering:
            self._is_answering = True
            if not self._bounds.streams:
                self._wait(self._bounds.write_seconds)
        else:
            self.transport.abort()

    def _is_read(self) -> bool:
        """Whether a request is here as a whole, and its answer is not out yet."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete


class PlainConnection(Connection, H11Protocol):
    """HTTP in Python."""


def find_connection_class() -> type[Connection]:
    """Return what speaks HTTP; the extra `fast` brings a quicker one."""
    try:
        from trainlet.server.fast_connection import FastConnection
    except ImportError:
        return PlainConnection
    return FastConnection
