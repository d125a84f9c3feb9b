"""`pods/NAME/exec` and `attach`: a command's streams, or a container's own, as channels of one WebSocket.

The first byte of each message says which channel (kubernetes staging/src/k8s.io/apimachinery pkg/util/remotecommand).
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine, Session, StartFailed
from trainlet.kube.errors import ApiError, EngineError
from trainlet.kube.meta import JSON
from trainlet.logs.lines import KeptLogs
from trainlet.logs.reader import LogReader
from trainlet.planning import labels
from trainlet.server.api.pod_sessions import NotStarted, Output
from trainlet.server.api.pod_streams import Pipe, Threads
from trainlet.server.api.pods import Finder, Place
from trainlet.server.api.queries import parse_flag, refuse

log = logging.getLogger(__name__)

#: The first closes single channels, so that a command's input can end.
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_CHANNELS = {"stdout": STDOUT, "stderr": STDERR}
#: What a client may send at once; kubectl sends 32 KiB.
MOST_MESSAGE_BYTES = 1 << 20
_TOO_LARGE, _DONE = 1009, 1000
_LARGEST_SIDE = 0xFFFF
_UPGRADE = "it is served over WebSocket only, not over SPDY: use a client that speaks it, as kubectl from 1.30 on"


@dataclass(frozen=True)
class CommandOptions:
    """What is to be run, and which of its streams the client wants."""

    command: tuple[str, ...]
    channels: frozenset[int]
    with_terminal: bool


def parse_command_options(query: QueryParams, *, has_command: bool) -> CommandOptions:
    """Return the options of a request. Raises ApiError (400)."""
    command = tuple(query.getlist("command"))
    if has_command and not any(command):
        raise refuse("you must specify at least one command for the container")
    wanted = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR}
    channels = frozenset(channel for name, channel in wanted.items() if parse_flag(query, name))
    if not channels:
        raise refuse("you must specify at least 1 of stdin, stdout, stderr")
    return CommandOptions(command, channels, parse_flag(query, "tty"))


def build_result(code: int | None) -> JSON:
    """Return the Status that tells how a command ended; None is one that was left before its end."""
    if code is None:
        return build_failure("the operator ends, and the command with it")
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def build_failure(why: object) -> JSON:
    """Return the Status that tells why it is not known how a command ended."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {why}",
        "reason": "InternalError",
        "code": 500,
    }


class Commands:
    """Serves commands, and what containers write."""

    def __init__(self, finder: Finder, engine: Engine, status_dir: StatusDir, threads: Threads) -> None:
        self._finder, self._engine, self._status_dir, self._threads = finder, engine, status_dir, threads

    async def exec(self, socket: WebSocket) -> None:
        """Run a command in a container. Raises ApiError before the connection is taken."""
        await self._serve(socket, self._open_command, has_command=True)

    async def attach(self, socket: WebSocket) -> None:
        """Show what a container writes from now on: here none of them has an input."""
        await self._serve(socket, self._open_output, has_command=False)

    async def refuse(self, request: Request) -> Response:
        """Refuse what does not ask for a WebSocket, after all else that is wrong with it. Raises ApiError (400)."""
        await self._find(request)
        raise refuse(_UPGRADE)

    async def _find(self, request: HTTPConnection) -> Place:
        names, container = request.path_params, request.query_params.get("container", "")
        place = await self._threads.run(self._finder.find, names["namespace"], names["name"], container)
        if "running" not in (place.status.get("state") or {}):
            raise refuse(f"{place.name} is not running")
        return place

    async def _serve(
        self, socket: WebSocket, open: Callable[[Place, CommandOptions], Session], *, has_command: bool
    ) -> None:
        options = parse_command_options(socket.query_params, has_command=has_command)
        protocol = next((each for each in PROTOCOLS if each in socket.scope["subprotocols"]), None)
        if protocol is None:
            raise refuse(f"the subprotocol must be one of {', '.join(PROTOCOLS)}")
        with self._threads.reserve("commands"):
            place = await self._find(socket)
            session = await self._threads.run(self._begin, open, place, options)
            await _Conversation(socket, session, options, self._threads).run(protocol)

    def _begin(
        self, open: Callable[[Place, CommandOptions], Session], place: Place, options: CommandOptions
    ) -> Session:
        try:
            return open(place, options)
        except EngineError as error:
            what = f"{place.name} cannot be reached: {error}"
            raise ApiError(what, code=503, reason="ServiceUnavailable") from error

    def _open_command(self, place: Place, options: CommandOptions) -> Session:
        found = self._engine.observe(place.job_uid).containers
        running = [each for each in found if each.labels.get(labels.STEP) == place.step and each.started_at is not None]
        if not running:
            raise refuse(f"{place.name} is not running")
        newest = max(running, key=lambda each: (each.restart, each.attempt))
        choice = {"with_input": STDIN in options.channels, "with_terminal": options.with_terminal}
        try:
            return self._engine.open_session(newest.id, options.command, **choice)
        except StartFailed as error:
            return NotStarted(error.what, error.exit_code)

    def _open_output(self, place: Place, options: CommandOptions) -> Session:  # noqa: ARG002 - as of a command
        kept = KeptLogs(self._status_dir, place.namespace, place.job)
        return Output(LogReader(self._engine, place.job_uid, kept, tail=None, since=datetime.now(UTC)), place.step)


class _Conversation:
    """One client with one session, which it closes."""

    def __init__(self, socket: WebSocket, session: Session, options: CommandOptions, threads: Threads) -> None:
        self._socket, self._session, self._options, self._threads = socket, session, options, threads
        self._pipe: Pipe[bytes] = Pipe()
        self._result: JSON | None = None

    async def run(self, protocol: str) -> None:
        """Accept the connection, and carry what both say until either has ended."""
        reading, tasks = self._threads.run(self._read), []
        try:
            await self._socket.accept(protocol)
            tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._pipe.close()
            await self._threads.run(self._session.close)
            await asyncio.gather(reading, *tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()  # raises what is our own fault

    def _read(self) -> None:
        """Read all that is written, and how it ended; in a thread."""
        wanted = ((channel, data) for channel, data in self._list_pieces() if channel in self._options.channels)
        try:
            self._pipe.fill(((bytes((channel,)) + data, len(data)) for channel, data in wanted))
            self._result = build_result(self._session.wait())
        except EngineError as error:
            log.warning("a command's streams break off: %s", error)
            self._result = build_failure(error)
        finally:
            self._pipe.close()

    def _list_pieces(self) -> Iterator[tuple[int, bytes]]:
        return ((_CHANNELS.get(stream, STDOUT), data) for stream, data in self._session.read())

    async def _send(self) -> None:
        with suppress(WebSocketDisconnect):
            while pieces := await self._pipe.take():
                for piece in pieces:
                    await self._socket.send_bytes(piece)
            if self._result is not None:
                await self._socket.send_bytes(bytes((STATUS,)) + json.dumps(self._result).encode())
            await self._socket.close(_DONE)

    async def _receive(self) -> None:
        """Give the session what the client says; none is read before the one before was taken."""
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            data = message.get("bytes") or (message.get("text") or "").encode()
            if len(data) > MOST_MESSAGE_BYTES:
                await self._socket.close(_TOO_LARGE)
                return
            if data:
                await self._take(data[0], data[1:])

    async def _take(self, channel: int, data: bytes) -> None:
        if channel == STDIN and data and STDIN in self._options.channels:
            await self._threads.run(self._session.write, data)
        elif channel == RESIZE and (size := find_size(data)) is not None:
            await self._threads.run(self._session.resize, *size)
        elif channel == CLOSE and data == bytes((STDIN,)):
            await self._threads.run(self._session.close_input)


def find_size(data: bytes) -> tuple[int, int] | None:
    """Return rows and columns, None for what is no size of a terminal."""
    try:
        size = json.loads(data)
        rows, columns = int(size["Height"]), int(size["Width"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (rows, columns) if 0 < rows <= _LARGEST_SIDE and 0 < columns <= _LARGEST_SIDE else None
