"""Asks a container one question, or does one thing in it: what probes and hooks have in common.

Counts nothing and remembers nothing; what failed is an answer, not an exception.
"""

import http.client
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from trainlet.apis.core_v1 import ExecAction, GrpcAction, Handler, HttpGet, SleepAction, TcpSocket
from trainlet.controller import http_get
from trainlet.engine.base import Engine, OutOfReach
from trainlet.kube.errors import EngineError
from trainlet.planning.probes import Answer, SizeCheck, check_size

#: A longer text says no more to anybody.
_LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class Place:
    """A container, and its address where it has one of its own."""

    id: str
    address: str | None = None


@dataclass(frozen=True)
class Handlers:
    """Asks on one engine."""

    engine: Engine

    def ask(self, place: Place, handler: Handler | SizeCheck, timeout_seconds: float) -> Answer:
        """Ask as a probe does. What cannot be asked here counts as well, and the message says so."""
        if isinstance(handler, SizeCheck):
            return self._weigh(handler)
        return self._answer(place, handler, timeout_seconds, lambda status: 200 <= status < 400)

    def run(self, place: Place, handler: Handler, timeout_seconds: float) -> Answer:
        """Do what a hook says. As on a kubelet any answer to a request is a good one, and a tcpSocket is none."""
        if handler.tcp_socket is not None or handler.grpc is not None:
            return Answer(False, "failed: a hook runs a command, sends a request or sleeps")
        return self._answer(place, handler, timeout_seconds, lambda _: True)

    def _weigh(self, check: SizeCheck) -> Answer:
        """Ask what volumes take; one that cannot be looked into takes nothing."""
        try:
            used = [sum(self.engine.measure_volume(name) or 0 for name in limit.seen) for limit in check.limits]
        except EngineError as error:
            return Answer(None, f"got no answer: {error}")
        answers = map(check_size, check.limits, used)
        return next((answer for answer in answers if not answer.ok), Answer(True))

    def _answer(self, place: Place, handler: Handler, seconds: float, is_good: Callable[[int], bool]) -> Answer:
        try:
            return self._dispatch(place, handler, seconds, is_good)
        except OutOfReach as error:
            return Answer(True, f"is left out: {error}")
        except EngineError as error:
            return Answer(None, f"got no answer: {error}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(False, f"failed: {_describe(error)}")

    def _dispatch(self, place: Place, handler: Handler, seconds: float, is_good: Callable[[int], bool]) -> Answer:
        match handler.exec or handler.http_get or handler.tcp_socket or handler.grpc or handler.sleep:
            case ExecAction(command=command) if command:
                return self._run(place, command, seconds)
            case HttpGet() as action:
                return self._get(place, action, seconds, is_good)
            case TcpSocket() as action:
                return self._reach(place, action, seconds)
            case SleepAction(seconds=pause):
                time.sleep(min(pause, seconds))
                return Answer(True)
            case GrpcAction():
                return Answer(True, "is left out: gRPC is not spoken here")
        return Answer(True)

    def _run(self, place: Place, command: list[str], seconds: float) -> Answer:
        found = self.engine.run_in_container(place.id, command, seconds)
        if found.exit_code is None:
            left = ", and it still runs: this machine may not kill it" if found.is_left else ""
            return Answer(False, f"failed: no end within {seconds:g} s{left}")
        said = found.output.strip()[-_LONGEST_MESSAGE:]
        return Answer(True) if found.exit_code == 0 else Answer(False, f"failed: exit code {found.exit_code}: {said}")

    def _get(self, place: Place, action: HttpGet, seconds: float, is_good: Callable[[int], bool]) -> Answer:
        url = http_get.build_url(action, action.host or place.address or "localhost", _get_port(action.port))
        headers = {header.name.lower(): header.value for header in action.http_headers}
        reply = http_get.get(url, headers, partial(self._open, place, action.host, seconds), seconds)
        if is_good(reply.status):
            return Answer(True)
        return Answer(False, f"failed: HTTP status {reply.status}")

    def _reach(self, place: Place, action: TcpSocket, seconds: float) -> Answer:
        """Look who listens, which disturbs nobody; where that cannot be told, connect."""
        port = _get_port(action.port)
        ports = None if action.host else self.engine.find_ports(place.id)
        if ports is None:
            self._open(place, action.host, seconds, port).close()
        elif port not in ports:
            return Answer(False, f"failed: nothing listens on port {port}")
        return Answer(True)

    def _open(self, place: Place, host: str, seconds: float, port: int) -> socket.socket:
        if host:
            return socket.create_connection((host, port), seconds)
        return self.engine.connect(place.id, place.address, port, seconds)


def _get_port(port: int | str) -> int:
    if isinstance(port, str):
        raise ValueError(f"the container has no port named {port}")
    return port


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:_LONGEST_MESSAGE]
