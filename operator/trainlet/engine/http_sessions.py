"""Sessions with commands over the calls that Docker and Podman share: one connection each, taken over from HTTP.

The libraries read such a connection through a buffer and lose what is in it, so the request is made here.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from io import BufferedReader
from typing import NamedTuple
from urllib.parse import urlsplit

from trainlet.engine.base import Streams
from trainlet.engine.explain import Refused
from trainlet.engine.wire import decode_frames
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON

_READ_BYTES = 65536
#: Where a command could not be started, the first of its output says why.
_HEAD_BYTES = 1024
_POLL_SECONDS, _SLOWEST_POLL_SECONDS = 0.02, 0.5
_KILLS = 3
_UPGRADED = (101, 200)


class Wire(NamedTuple):
    """A connection that carries a command's streams. What was read ahead with the answer's head is in the reader."""

    socket: socket.socket
    reader: BufferedReader
    #: Closes the reader as soon as nobody holds it.
    answer: HTTPResponse


class Exec(NamedTuple):
    """What a session asks of its engine: how the command is doing, its terminal's size, and its end by force."""

    inspect: Callable[[], JSON]
    read_code: Callable[[JSON, str], int]
    resize: Callable[[int, int], object]
    kill: Callable[[JSON], object]


def upgrade(url: str, path: str, body: JSON, doing: str, seconds: float) -> Wire:
    """Send a request that the engine answers with a command's streams. Raises OSError, HTTPException, Refused.

    Nothing may be sent before the answer is here: Docker drops it.
    """
    connection = _connect(url, seconds)
    try:
        headers = {"Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "tcp"}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status not in _UPGRADED:
            raise Refused(doing, status=answer.status, text=_read_message(answer), where=url)
    except (OSError, HTTPException, Refused):
        connection.close()
        raise
    connection.sock.settimeout(None)
    return Wire(connection.sock, answer.fp, answer)


def _connect(url: str, seconds: float) -> HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme != "unix":
        connection = HTTPConnection(parts.hostname or "", parts.port or 2375, timeout=seconds)
        connection.connect()
        return connection
    connection = HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(seconds)
    try:
        connection.sock.connect(parts.path)
    except OSError:
        connection.close()
        raise
    return connection


def _read_message(answer: HTTPResponse) -> str:
    data = answer.read(_READ_BYTES)
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(data)["message"])
    return data.decode(errors="replace").strip() or answer.reason


class HttpSession:
    """Implements Session. `streams` ends it with its engine."""

    def __init__(self, wire: Wire, exec: Exec, streams: Streams, *, with_terminal: bool) -> None:
        self._wire, self._exec, self._streams, self._with_terminal = wire, exec, streams, with_terminal
        self._closed, self._has_ended = threading.Event(), False
        self._writing = threading.Lock()
        self._head = b""
        streams.add(self, self._end)

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the command writes."""
        chunks = iter(self._receive, b"")
        for stream, data in (("stdout", each) for each in chunks) if self._with_terminal else decode_frames(chunks):
            self._head = self._head or data[:_HEAD_BYTES]
            yield stream, data

    def _receive(self) -> bytes:
        with suppress(OSError, ValueError):  # it was closed, or the engine is gone: `wait` tells
            return self._wire.reader.read1(_READ_BYTES)
        return b""

    def write(self, data: bytes) -> None:
        """Give the command something to read."""
        with self._writing, suppress(OSError):
            self._wire.socket.sendall(data)

    def close_input(self) -> None:
        """Let the command's input end."""
        with self._writing, suppress(OSError):
            self._wire.socket.shutdown(socket.SHUT_WR)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size; a command that has not begun or has ended has none."""
        with suppress(Refused):
            self._exec.resize(rows, columns)

    def wait(self) -> int | None:
        """Return the exit code; the engine may know it only a moment after the streams have ended."""
        pause = _POLL_SECONDS
        while not self._closed.is_set():
            found = self._exec.inspect()
            if not found["Running"]:
                self._has_ended = True
                return self._exec.read_code(found, self._head.decode(errors="replace"))
            self._closed.wait(pause)
            pause = min(2 * pause, _SLOWEST_POLL_SECONDS)
        return None

    def close(self) -> None:
        """End the streams, and the command."""
        self._streams.discard(self)
        self._end()
        with self._writing:
            self._wire.socket.close()
        self._wire.answer.close()
        if not self._has_ended:
            self._has_ended = True
            self._kill()

    def _kill(self) -> None:
        """Kill the command; an engine that is busy just then is asked again."""
        for _ in range(_KILLS):
            with suppress(EngineError):
                found = self._exec.inspect()
                if not found["Running"] or self._exec.kill(found):
                    return
            time.sleep(_SLOWEST_POLL_SECONDS)

    def _end(self) -> None:
        self._closed.set()
        with suppress(OSError):
            self._wire.socket.shutdown(socket.SHUT_RDWR)
