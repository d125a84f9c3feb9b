"""The thread that serves the Kubernetes API, on as many addresses as are given, on one event loop."""

import asyncio
import logging
import os
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from trainlet.kube.errors import TrainletError
from trainlet.server.api.errors import write_status
from trainlet.server.api.gate import Door, Gate
from trainlet.server.connections import Bounds
from trainlet.server.credentials import Credentials, build_context
from trainlet.server.listener import Address, Listener, listen
from trainlet.server.loop_thread import LoopThread
from trainlet.server.responses import StatusErrors

log = logging.getLogger(__name__)

#: A watch holds a connection for as long as it likes; a client has a few of them. Who reads a log page by page takes
#: nothing of it for minutes. All servers of an operator leave it some of the 1,024 files that a process may open.
BOUNDS = Bounds(connections=512, write_seconds=1800.0, streams=True)
_THREADS = 32
_PEER = struct.Struct("3i")  # pid, uid, gid

#: Makes the application, within the loop that it will be served on, and says how its streams are ended.
Build = Callable[[], tuple[ASGIApp, Callable[[], None]]]


@dataclass(frozen=True)
class Access:
    """How the API is reached over TCP: the credentials as they should be now, the names in them, and the token."""

    token: str
    hosts: Sequence[str]
    renew: Callable[[], Credentials]


class ApiServer:
    """Serves an application on addresses: over TLS with a token, and on unix sockets to our own user alone."""

    def __init__(self, build: Build, addresses: Sequence[Address], access: Access, bounds: Bounds = BOUNDS) -> None:
        self._build, self._access, self._bounds = build, access, bounds
        self._wanted = addresses
        self._listening: list[socket.socket] = []
        self._thread: LoopThread | None = None

    @property
    def addresses(self) -> list[Address]:
        """What is listened on; a port that was left to the system (0) is known after the start."""
        names = [each.getsockname() for each in self._listening]
        return [name if isinstance(name, str) else name[:2] for name in names]

    def start(self) -> None:
        """Listen, and serve in a thread. Raises TrainletError where it cannot."""
        tls = build_context(self._access.renew())
        with ExitStack() as stack:
            self._listening = [stack.enter_context(_open(each)) for each in self._wanted]
            stack.pop_all()
        self._thread = LoopThread("api-server", lambda stopping: self._serve(tls, stopping))
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End, and leave no socket behind."""
        if self._thread is not None:
            self._thread.stop(timeout_seconds)
            for address in self._wanted:
                if isinstance(address, str):
                    Path(address).unlink(missing_ok=True)

    async def _serve(self, tls: ssl.SSLContext, stopping: asyncio.Event) -> None:
        readers = ThreadPoolExecutor(_THREADS, thread_name_prefix="api-request")
        asyncio.get_running_loop().set_default_executor(readers)
        app, end_streams = self._build()
        renewing = asyncio.create_task(self._keep_renewed(tls))
        with ExitStack() as stack:
            listeners = [self._build_listener(app, stack.enter_context(each), tls) for each in self._listening]
            serving = [asyncio.create_task(each.run(stopping)) for each in listeners]
            await stopping.wait()
            end_streams()
            await asyncio.gather(*serving)
        renewing.cancel()

    def _build_listener(self, app: ASGIApp, listening: socket.socket, tls: ssl.SSLContext) -> Listener:
        is_local = listening.family == socket.AF_UNIX
        door = Door() if is_local else Door(self._access.token, self._access.hosts)
        gate = StatusErrors(Gate(app, door), write_status)
        return Listener(
            gate, listening, self._bounds, None if is_local else tls, _is_ours if is_local else None, "wsproto"
        )

    async def _keep_renewed(self, tls: ssl.SSLContext) -> None:
        while True:
            await asyncio.sleep(self._bounds.renewal_seconds)
            try:
                (await asyncio.to_thread(self._access.renew)).load_into(tls)
            except (OSError, TrainletError) as error:
                log.warning("the API keeps its certificate: %s", error)


def _open(address: Address) -> socket.socket:
    """Listen; a unix socket is made in a directory of our own, and for nobody else."""
    if not isinstance(address, str):
        return listen(address, "for clients of the API")
    try:
        Path(address).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot listen for clients of the API: {error.strerror or error}"
        raise TrainletError(what, where=address, remedy="give a path in a directory that you may write") from None
    listening = listen(address, "for clients of the API")
    Path(address).chmod(0o600)
    return listening


def _is_ours(client: socket.socket, _: object) -> bool:
    """Tell whether it is our own user, or root, who has connected to a unix socket."""
    return _PEER.unpack(_read_peer(client))[1] in (0, os.getuid())


def _read_peer(client: socket.socket) -> bytes:
    """Return what the kernel says of who has connected; a system that says nothing has judged by the socket's mode."""
    if not hasattr(socket, "SO_PEERCRED"):
        return _PEER.pack(0, os.getuid(), 0)
    return client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
