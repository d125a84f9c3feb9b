"""Serves what an operator tells of itself: /metrics for Prometheus, /healthz and /readyz for whoever restarts it.

Plain HTTP and no names: what it says holds numbers, versions and addresses of engines, nothing of any job. Who may
connect is a matter of the address.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from trainlet.server.connections import Bounds
from trainlet.server.listener import Address, Listener, listen
from trainlet.server.loop_thread import LoopThread
from trainlet.server.responses import StatusErrors

#: Nobody but a scraper or two, a supervisor and a person asks.
BOUNDS = Bounds(connections=16)


@dataclass(frozen=True)
class Pages:
    """What is served: the metrics as text with their type, and what is wrong, a line each, or nothing."""

    write_metrics: Callable[[], str]
    metrics_type: str
    find_dead: Callable[[], list[str]]
    find_unready: Callable[[], list[str]]


class MetricsServer:
    """Serves an operator's pages on an address."""

    def __init__(self, address: Address, pages: Pages) -> None:
        self._address, self._app = address, _build_app(pages)
        self._thread: LoopThread | None = None

    def start(self) -> None:
        """Listen, and serve in a thread. Raises TrainletError where it cannot."""
        listening = listen(self._address, "for who asks for metrics")
        if not isinstance(self._address, str):
            self._address = listening.getsockname()[:2]
        listener = Listener(self._app, listening, BOUNDS)
        self._thread = LoopThread("metrics-server", partial(_serve, listener, listening))
        self._thread.start()

    @property
    def address(self) -> Address:
        """What is listened on; a port that was left to the system (0) is known after the start."""
        return self._address

    def stop(self, timeout_seconds: float) -> None:
        """End, and leave no socket behind."""
        if self._thread is not None:
            self._thread.stop(timeout_seconds)
            if isinstance(self._address, str):
                Path(self._address).unlink(missing_ok=True)


def _build_app(pages: Pages) -> ASGIApp:
    async def show_metrics(_: Request) -> PlainTextResponse:
        text = await asyncio.to_thread(pages.write_metrics)
        return PlainTextResponse(text, headers={"content-type": pages.metrics_type})

    async def show(find: Callable[[], list[str]], _: Request) -> PlainTextResponse:
        problems = await asyncio.to_thread(find)
        return PlainTextResponse("".join(f"{each}\n" for each in problems or ["ok"]), 500 if problems else 200)

    routes = [
        Route("/metrics", show_metrics),
        Route("/healthz", partial(show, pages.find_dead)),
        Route("/readyz", partial(show, pages.find_unready)),
    ]
    return StatusErrors(Router(routes, redirect_slashes=False))


async def _serve(listener: Listener, listening: socket.socket, stopping: asyncio.Event) -> None:
    with listening:
        await listener.run(stopping)
