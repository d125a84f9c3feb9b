"""The thread that serves progress reports of training code. Everything in it happens on one event loop."""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from trainlet.kube.errors import TrainletError
from trainlet.registry import Registry
from trainlet.server.connections import DEFAULT_BOUNDS, Bounds
from trainlet.server.credentials import Credentials, build_context
from trainlet.server.host_address import LISTEN_ADDRESS
from trainlet.server.listener import Listener
from trainlet.server.neighbours import Neighbours
from trainlet.server.status_api import build_status_app

log = logging.getLogger(__name__)

_WRITERS = 4
_BACKLOG = 128


class StatusServer:
    """Serves the reports of a registry's jobs to this machine and to the containers of some networks (CIDR).

    `renew` gives the credentials as they should be now; it is asked at the start and several times a day.
    """

    def __init__(
        self,
        registry: Registry,
        secret: bytes,
        renew: Callable[[], Credentials],
        *,
        port: int,
        host: str = LISTEN_ADDRESS,
        networks: Sequence[str] = (),
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self._app, self._renew = build_status_app(registry, secret), renew
        self._host, self._port, self._bounds = host, port, bounds
        self._neighbours = Neighbours(networks)
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; one that was left to the system (0) is known after the start."""
        return self._port

    def start(self) -> None:
        """Listen, and serve in a thread. Raises TrainletError where it cannot."""
        tls = build_context(self._renew())
        listening = _listen(self._host, self._port)
        self._port = listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        arguments = (self._loop, listening, tls)
        self._thread = threading.Thread(target=self._run, args=arguments, name="status-server", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End; reports that are being written are answered first."""
        if self._thread is not None and self._loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout_seconds)

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket, tls: ssl.SSLContext) -> None:
        try:
            with listening, asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._serve(listening, tls))
        except Exception:
            log.exception("the status server has ended: this is a bug of trainlet")

    async def _serve(self, listening: socket.socket, tls: ssl.SSLContext) -> None:
        writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="status-writer")
        asyncio.get_running_loop().set_default_executor(writers)
        renewing = asyncio.create_task(self._keep_renewed(tls))
        await Listener(self._app, listening, tls, self._neighbours, self._bounds).run(self._stopping)
        renewing.cancel()

    async def _keep_renewed(self, tls: ssl.SSLContext) -> None:
        while True:
            await asyncio.sleep(self._bounds.renewal_seconds)
            try:
                (await asyncio.to_thread(self._renew)).load_into(tls)
            except (OSError, TrainletError) as error:
                log.warning("the status server keeps its certificate: %s", error)


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        what = f"cannot listen for what jobs report: {error.strerror or error}"
        raise TrainletError(
            what, where=f"{host}:{port}", remedy="end what listens there, or give another port"
        ) from None
    listening.setblocking(False)
    return listening
