"""Engine events -> keys to look at, and whether the engine is there at all.

Events are hints: after every gap in their stream everything is looked at again. Whether the engine is there is asked
beside them, because a stream stays open when the socket is replaced, and stays silent when the engine hangs.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trainlet.controller.metrics import ENGINE_EVENTS, EVENT_STREAM_RESTARTS
from trainlet.engine.base import Engine, EngineUnavailable
from trainlet.kube.errors import EngineError
from trainlet.planning.observed import ContainerState, ObservedContainer

log = logging.getLogger(__name__)

#: Docker's die event comes some 50 ms before its list shows the container as exited.
SECOND_LOOK_SECONDS = 0.2
RETRY_SECONDS = 1.0
#: With the time that an answer may take, an engine that hangs is known to within 15 s.
BEAT_SECONDS = 5.0
#: A daemon that is told to end gives containers 10 s and ends its streams after them.
SHUTDOWN_LEAD = timedelta(seconds=15)
_SIGNAL_EXITS = frozenset({129, 130, 137, 143, 255})


@dataclass(frozen=True)
class Outage:
    """A time without contact to the engine, and why; `end` None while it lasts."""

    start: datetime
    error: EngineError
    end: datetime | None = None


def read_boot_time(path: Path = Path("/proc/stat")) -> datetime | None:
    """Return when this machine was started, or None where the kernel does not tell."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    seconds = next((line.split()[1] for line in lines if line.startswith("btime ")), None)
    return datetime.fromtimestamp(int(seconds), UTC) if seconds else None


class EngineSource:
    """Follows the engine's events in one thread, and in another knows when the engine is away."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        wake: Callable[[str, float], None],
        wake_all: Callable[[], None],
        read_boot: Callable[[], datetime | None] = read_boot_time,
    ) -> None:
        self._engine, self._clock, self._wake, self._wake_all = engine, clock, wake, wake_all
        self._stopping, self._doubted, self._there = threading.Event(), threading.Event(), threading.Event()
        self._outages: tuple[Outage, ...] = ()
        self._booted_at = read_boot()
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for run, name in ((self._follow, "engine-events"), (self._attend, "engine-heartbeat"))
        ]

    def start(self) -> None:
        """Start to follow."""
        self._there.set()
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Stop following; the engine's `close` is what ends a blocked stream."""
        for event in (self._stopping, self._doubted, self._there):
            event.set()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def check(self) -> None:
        """Raise EngineUnavailable while the engine is known to be away: every call would wait for its timeout.

        All jobs are woken when it is over.
        """
        if (outage := self._find_outage()) is not None:
            raise EngineUnavailable(outage.error.what, where=outage.error.where, remedy=outage.error.remedy)

    def is_disrupted(self, container: ObservedContainer) -> bool:
        """Tell whether a container was ended by its engine or its machine going down, rather than by itself."""
        if container.state is not ContainerState.EXITED or container.exit_code not in _SIGNAL_EXITS:
            return False
        if container.oom_killed:
            return False  # the want of memory that ends a node can also make the engine too slow to answer
        if self._booted_at and container.started_at and container.started_at < self._booted_at:
            return True
        ended = container.finished_at
        return ended is not None and any(
            outage.start - SHUTDOWN_LEAD <= ended <= (outage.end or self._clock()) + timedelta(seconds=5)
            for outage in self._outages
        )

    def _follow(self) -> None:
        """Wake who an event is about, and everybody after a gap."""
        while not self._stopping.is_set():
            try:
                for event in self._engine.watch():
                    ENGINE_EVENTS.add()
                    self._wake(event.owner_uid, 0)
                    self._wake(event.owner_uid, SECOND_LOOK_SECONDS)
            except EngineError as error:
                log.debug("no events: %s", error)
            except Exception:
                log.exception("the engine's events ended in a bug")
            self._doubted.set()
            self._stopping.wait(RETRY_SECONDS)
            self._there.wait()
            EVENT_STREAM_RESTARTS.add()
            self._wake_all()

    def _attend(self) -> None:
        """Ask time and again whether the engine is there: at once if a stream of events broke."""
        while not self._stopping.is_set():
            error = self._ask()
            if error is not None and self._there.is_set():
                log.warning("lost the engine: %s", error)
                self._outages = (*self._outages[-9:], Outage(self._clock(), error))
                self._there.clear()
                self._wake_all()
            elif error is None and not self._there.is_set():
                log.info("the engine answers again")
                self._outages = (*self._outages[:-1], replace(self._outages[-1], end=self._clock()))
                self._there.set()
                self._wake_all()
            if self._there.is_set():
                self._doubted.wait(BEAT_SECONDS)
                self._doubted.clear()
            else:
                self._stopping.wait(RETRY_SECONDS)

    def _ask(self) -> EngineError | None:
        try:
            self._engine.ping()
        except EngineError as error:
            return error
        return None

    def _find_outage(self) -> Outage | None:
        """Return the outage that lasts, or None."""
        last = self._outages[-1] if self._outages else None
        return last if last is not None and last.end is None else None
