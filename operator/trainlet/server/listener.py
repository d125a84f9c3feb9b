"""Serves an ASGI application over TLS to those near by, so many connections at once. Knows nothing of what is served.

uvicorn's own server counts a connection only after its handshake and waits for headers as long as they take: a
container that opens connections and says nothing would take all file descriptors of the operator.
"""

import asyncio
import logging
import socket
import ssl
from contextlib import suppress

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.server import ServerState

from trainlet.server.connections import Bounds, Connection
from trainlet.server.neighbours import Neighbours

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0  # for answers under way when the end has come
_GOODBYE_SECONDS = 0.5  # for a client to say that it has heard of its connection's end
_PAUSE_SECONDS = 1.0  # after an accept that failed: mostly there is no file descriptor left


class Listener:
    """Accepts connections on one listening socket. Lives on one event loop."""

    def __init__(
        self, app: ASGIApp, listening: socket.socket, tls: ssl.SSLContext, neighbours: Neighbours, bounds: Bounds
    ) -> None:
        self._listening, self._tls, self._neighbours, self._bounds = listening, tls, neighbours, bounds
        self._config = _build_config(app, bounds)
        self._state = ServerState()
        # In the order of their last answer; those that never got one keep the place they came to.
        self._open: dict[socket.socket, asyncio.Task[None]] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until told to stop; requests under way are answered, for a short time."""
        accepting = asyncio.create_task(self._accept())
        await stopping.wait()
        accepting.cancel()
        for connection in list(self._state.connections):
            connection.shutdown()
        waiting = [*self._state.tasks, *self._open.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=_CLOSE_SECONDS)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, (address, *_) = await loop.sock_accept(self._listening)
            except OSError as error:
                log.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if not self._neighbours.include(address):
                log.debug("a connection from %s, which is not near, is refused", address)
                client.close()
                continue
            self._make_room()
            self._open[client] = asyncio.create_task(self._serve(client))

    def _make_room(self) -> None:
        """End the connection that has been without an answer for longest, if there are too many."""
        if len(self._open) >= self._bounds.connections:
            oldest = next(iter(self._open))
            del self._open[oldest]
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)

    async def _serve(self, client: socket.socket) -> None:
        connection = Connection(self._config, self._state, self._bounds, lambda: self._renew(client))
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                client,
                ssl=self._tls,
                ssl_handshake_timeout=self._bounds.read_seconds,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
            await connection.ended.wait()
        except OSError as error:  # a failed handshake among others
            log.debug("a connection failed: %s", error)
        finally:
            self._open.pop(client, None)
            client.close()

    def _renew(self, client: socket.socket) -> None:
        if (task := self._open.pop(client, None)) is not None:
            self._open[client] = task


def _build_config(app: ASGIApp, bounds: Bounds) -> Config:
    config = Config(
        app,
        http="h11",
        ws="none",
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
