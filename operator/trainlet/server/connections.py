"""One connection of a server: HTTP as uvicorn speaks it, with an end to every wait. Knows nothing of what is served."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


@dataclass(frozen=True)
class Bounds:
    """What a server's clients may take. The times are those of upstream (kubeflow/trainer pkg/statusserver).

    `read_seconds` for the handshake, and for a request from its first byte to its last; `write_seconds` for its
    answer; `idle_seconds` from then to the next request. After `renewal_seconds` the certificate is looked at again.
    """

    connections: int = 256
    read_seconds: float = 10.0
    write_seconds: float = 10.0
    idle_seconds: float = 120.0
    renewal_seconds: float = 6 * 3600.0


DEFAULT_BOUNDS = Bounds()


class Connection(H11Protocol):
    """uvicorn's protocol under a timer that always runs. `on_answer` is called after every request."""

    def __init__(self, config: Config, state: ServerState, bounds: Bounds, on_answer: Callable[[], None]) -> None:
        super().__init__(config, state, {})
        self._bounds, self._on_answer = bounds, on_answer
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle, self._is_answering = False, False
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
        answered = self.cycle
        super().on_response_complete()
        self._is_idle, self._is_answering = self.cycle is answered, False
        self._wait(self._bounds.idle_seconds if self._is_idle else self._bounds.read_seconds)
        self._on_answer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        self.ended.set()

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._is_read() and not self._is_answering:
            self._is_answering = True
            self._wait(self._bounds.write_seconds)
        else:
            self.transport.abort()

    def _is_read(self) -> bool:
        """Whether a request is here as a whole, and its answer is not out yet."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
