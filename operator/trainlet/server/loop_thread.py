"""A thread with an event loop of its own, on which one coroutine runs until it is told to stop."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)


class LoopThread:
    """Runs `serve`, which ends soon after the event that it is given is set."""

    def __init__(self, name: str, serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        self._serve, self._stopping = serve, asyncio.Event()
        self._loop = _build_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End, after what is under way."""
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve(self._stopping))
        except Exception:
            log.exception("the %s has ended: this is a bug of trainlet", self._thread.name)


def _build_loop() -> asyncio.AbstractEventLoop:
    """Return a loop; the extra `fast` brings a quicker one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
