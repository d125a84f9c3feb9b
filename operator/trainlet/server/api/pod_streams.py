"""Streams that block, for the event loop: threads in bounded numbers, and pipes from them that hold only so much."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from trainlet.server.api.types import RequestError

T = TypeVar("T")

#: How many logs and how many commands may be streamed at once. A log takes one thread, a command two.
LOGS, SESSIONS = 64, 32
#: For looking things up and for ending streams: never held for long.
_SPARE = 16
#: What a pipe holds before who fills it has to wait.
_PIPE_BYTES = 1 << 18
#: How often who waits for room looks whether anybody is left to make it.
_LOOK_SECONDS = 1.0


class Threads:
    """The threads of all streams of a server."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(LOGS + 2 * SESSIONS + _SPARE, "api-stream")
        self._free = {"logs": LOGS, "commands": SESSIONS}

    @contextmanager
    def reserve(self, what: str) -> Iterator[None]:
        """Take the place of one of the `logs` or `commands`. Raises RequestError (429) where there is none left."""
        if not self._free[what]:
            text = f"too many {what} are streamed: end one, or try again later"
            raise RequestError(text, code=429, reason="TooManyRequests", retry_after_seconds=5)
        self._free[what] -= 1
        try:
            yield
        finally:
            self._free[what] += 1

    def run(self, call: Callable[..., T], *arguments: object) -> "asyncio.Future[T]":
        """Make a call that may block."""
        return asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)


class Pipe(Generic[T]):
    """Carries pieces from a thread to the event loop that made it. The thread waits while much is not yet taken."""

    def __init__(self) -> None:
        self._loop, self._arrived = asyncio.get_running_loop(), asyncio.Event()
        self._room = threading.Condition()
        self._pieces: list[T] = []
        self._bytes = 0
        self._is_over = False

    def fill(self, pieces: Iterable[tuple[T, int]]) -> None:
        """Put all pieces in, each with its size in bytes, until nobody wants them; in a thread, which then closes."""
        for piece, size in pieces:
            if not self._put(piece, size):
                return

    def _put(self, piece: T, size: int) -> bool:
        with self._room:
            while self._bytes > _PIPE_BYTES and not self._is_over and self._loop.is_running():
                self._room.wait(_LOOK_SECONDS)
            if self._is_over or not self._loop.is_running():
                return False
            self._pieces.append(piece)
            self._bytes += size
        self._wake()
        return True

    def close(self) -> None:
        """Let the stream end, from either side."""
        with self._room:
            self._is_over = True
            self._room.notify_all()
        self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def take(self) -> list[T]:
        """Return all pieces that are there, once there are any; none at the end."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            with self._room:
                taken, self._pieces, self._bytes = self._pieces, [], 0
                is_over = self._is_over
                self._room.notify_all()
            if taken or is_over:
                if is_over:
                    self._arrived.set()
                return taken
