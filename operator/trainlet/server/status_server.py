"""The thread that serves progress reports of training code. Everything in it happens on one event loop."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from trainlet.kube.errors import TrainletError
from trainlet.registry import Registry
from trainlet.server.connections import DEFAULT_BOUNDS, Bounds
from trainlet.server.credentials import Credentials, build_context
from trainlet.server.host_address import LISTEN_ADDRESS
from trainlet.server.listener import Listener, listen
from trainlet.server.loop_thread import LoopThread
from trainlet.server.neighbours import Neighbours
from trainlet.server.status_api import build_status_app

log = logging.getLogger(__name__)

_WRITERS = 4


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
        self._thread: LoopThread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; one that was left to the system (0) is known after the start."""
        return self._port

    def start(self) -> None:
        """Listen, and serve in a thread. Raises TrainletError where it cannot."""
        tls = build_context(self._renew())
        listening = listen((self._host, self._port), "for what jobs report")
        self._port = listening.getsockname()[1]
        self._thread = LoopThread("status-server", partial(self._serve, listening, tls))
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End; reports that are being written are answered first."""
        if self._thread is not None:
            self._thread.stop(timeout_seconds)

    async def _serve(self, listening: socket.socket, tls: ssl.SSLContext, stopping: asyncio.Event) -> None:
        writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="status-writer")
        asyncio.get_running_loop().set_default_executor(writers)
        renewing = asyncio.create_task(self._keep_renewed(tls))
        with listening:
            await Listener(self._app, listening, self._bounds, tls, self._admit).run(stopping)
        renewing.cancel()

    def _admit(self, _: socket.socket, address: tuple[str, int]) -> bool:
        return self._neighbours.include(address[0])

    async def _keep_renewed(self, tls: ssl.SSLContext) -> None:
        while True:
            await asyncio.sleep(self._bounds.renewal_seconds)
            try:
                (await asyncio.to_thread(self._renew)).load_into(tls)
            except (OSError, TrainletError) as error:
                log.warning("the status server keeps its certificate: %s", error)
