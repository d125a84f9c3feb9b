"""Serves an ASGI application on one socket, so many connections at once. Knows nothing of what is served.

uvicorn's own server counts a connection only after its handshake and waits for headers as long as they take: a
container that opens connections and says nothing would take all file descriptors of the operator.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.server import ServerState

from trainlet.kube.errors import TrainletError
from trainlet.server.connections import MOST_HEAD_BYTES, Bounds, Connection, find_connection_class

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0  # for answers under way when the end has come
_GOODBYE_SECONDS = 0.5  # for a client to say that it has heard of its connection's end
_BACKLOG = 128
_MESSAGE_BYTES = 1 << 20
_PAUSE_SECONDS = 1.0  # after an accept that failed: mostly there is no file descriptor left


#: Host and port, or the path of a unix socket.
Address = tuple[str, int] | str
#: Tells whether who connects (by its address) may.
Admits = Callable[[socket.socket, Any], bool]


def parse_address(text: str) -> Address:
    """Return an address of settings: a path, or HOST:PORT."""
    host, _, port = text.rpartition(":")
    return text if text.startswith("/") else (host, int(port))


def listen(address: Address, purpose: str) -> socket.socket:
    """Return a socket that listens; one that nobody listens on any more is replaced. Raises TrainletError."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    # With its protocol named, asyncio sends what clients wait for without delay.
    listening = socket.socket(family, socket.SOCK_STREAM, 0 if isinstance(address, str) else socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if isinstance(address, str):
            _clear_path(address)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        what = f"cannot listen {purpose}: {error.strerror or error}"
        where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        raise TrainletError(what, where=where, remedy="end what listens there, or give another port") from None
    listening.setblocking(False)
    return listening


def _clear_path(path: str) -> None:
    """Remove the socket that one who was killed has left; whatever else is there stays, and is in the way."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)


class Listener:
    """Accepts connections on one listening socket: over TLS if asked to, and only of those that may connect.

    Lives on one event loop. `websocket` is what speaks it, in uvicorn's words.
    """

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        bounds: Bounds,
        tls: ssl.SSLContext | None = None,
        admits: Admits | None = None,
        websocket: Literal["none", "wsproto"] = "none",
    ) -> None:
        self._listening, self._tls, self._admits, self._bounds = listening, tls, admits, bounds
        self._config, self._connect = _build_config(app, bounds, websocket), find_connection_class()
        self._state = ServerState()
        # In the order of their last answer; those that never got one keep the place they came to.
        self._open: dict[socket.socket, Connection] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until told to stop; requests under way are answered, for a short time."""
        accepting = asyncio.create_task(self._accept())
        await stopping.wait()
        accepting.cancel()
        for connection in list(self._state.connections):
            connection.shutdown()
        waiting = [*self._state.tasks, *self._serving]
        if waiting:
            await asyncio.wait(waiting, timeout=_CLOSE_SECONDS)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(self._listening)
            except OSError as error:
                log.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if self._admits is not None and not self._admits(client, address):
                log.debug("a connection from %s, which may not connect, is refused", address)
                client.close()
                continue
            self._make_room()
            self._open[client] = self._connect(self._config, self._state, self._bounds, partial(self._renew, client))
            serving = asyncio.create_task(self._serve(client, self._open[client]))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)

    def _make_room(self) -> None:
        """End the connection that has been without an answer for longest, if there are too many: first of strangers."""
        if len(self._open) >= self._bounds.connections:
            strangers = (client for client, connection in self._open.items() if not connection.is_trusted)
            oldest = next(strangers, next(iter(self._open)))
            del self._open[oldest]
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)

    async def _serve(self, client: socket.socket, connection: Connection) -> None:
        waits = {"ssl_handshake_timeout": self._bounds.read_seconds, "ssl_shutdown_timeout": _GOODBYE_SECONDS}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, client, ssl=self._tls, **(waits if self._tls is not None else {})
            )
            await connection.ended.wait()
        except OSError as error:  # a failed handshake among others
            log.debug("a connection failed: %s", error)
        finally:
            self._open.pop(client, None)
            client.close()

    def _renew(self, client: socket.socket) -> None:
        if (connection := self._open.pop(client, None)) is not None:
            self._open[client] = connection


def _build_config(app: ASGIApp, bounds: Bounds, websocket: Literal["none", "wsproto"]) -> Config:
    config = Config(
        app,
        http="h11",
        ws=websocket,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        ws_max_size=_MESSAGE_BYTES,
        ws_ping_timeout=None,  # what is not yet taken of what a client sent keeps its answer back too
        ws_per_message_deflate=False,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="error",  # it warns of every client that does not speak HTTP
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(bounds.idle_seconds) + 1,  # ours is first
    )
    config.load()
    return config
