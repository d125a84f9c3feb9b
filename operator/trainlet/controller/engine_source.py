"""Engine events -> keys to look at. Events are hints: after every gap in the stream everything is looked at again."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trainlet.engine.base import Engine
from trainlet.kube.errors import EngineError
from trainlet.planning.observed import ContainerState, ObservedContainer

log = logging.getLogger(__name__)

#: Docker's die event comes some 50 ms before its list shows the container as exited.
SECOND_LOOK_SECONDS = 0.2
RETRY_SECONDS = 1.0
#: A daemon that is told to end gives containers 10 s and ends its streams after them.
SHUTDOWN_LEAD = timedelta(seconds=15)
_SIGNAL_EXITS = frozenset({129, 130, 137, 143, 255})


@dataclass(frozen=True)
class Outage:
    """A time without contact to the engine; `end` None while it lasts."""

    start: datetime
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
    """A thread that follows the engine's events and knows when the engine was away."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        wake: Callable[[str, float], None],
        wake_all: Callable[[], None],
    ) -> None:
        self._engine, self._clock, self._wake, self._wake_all = engine, clock, wake, wake_all
        self._stopping = threading.Event()
        self._outages: list[Outage] = []
        self._booted_at = read_boot_time()
        self._thread = threading.Thread(target=self._run, name="engine-events", daemon=True)

    def start(self) -> None:
        """Start to follow."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Stop following; the engine's `close` is what ends a blocked stream."""
        self._stopping.set()
        self._thread.join(timeout_seconds)

    def is_disrupted(self, container: ObservedContainer) -> bool:
        """Tell whether a container was ended by its engine or its machine going down, rather than by itself."""
        if container.state is not ContainerState.EXITED or container.exit_code not in _SIGNAL_EXITS:
            return False
        if self._booted_at and container.started_at and container.started_at < self._booted_at:
            return True
        ended = container.finished_at
        return ended is not None and any(
            outage.start - SHUTDOWN_LEAD <= ended <= (outage.end or self._clock()) + timedelta(seconds=5)
            for outage in self._outages
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for event in self._engine.watch():
                    self._end_outage()
                    self._wake(event.owner_uid, 0)
                    self._wake(event.owner_uid, SECOND_LOOK_SECONDS)
                reason = "the event stream ended"
            except EngineError as error:
                reason = str(error)
            if not self._stopping.is_set():
                self._reconnect(reason)

    def _reconnect(self, reason: str) -> None:
        """Wait until the engine answers. A stream that merely ended while the engine was there is no outage."""
        if self._answers():
            self._wake_all()
            self._stopping.wait(RETRY_SECONDS)
            return
        log.warning("lost the engine: %s", reason)
        self._outages = [*self._outages[-9:], Outage(self._clock())]
        self._wake_all()
        while not self._stopping.wait(RETRY_SECONDS):
            if self._answers():
                log.info("the engine answers again")
                self._end_outage()
                self._wake_all()
                return

    def _answers(self) -> bool:
        try:
            self._engine.ping()
        except EngineError:
            return False
        return True

    def _end_outage(self) -> None:
        if self._outages and self._outages[-1].end is None:
            self._outages[-1] = Outage(self._outages[-1].start, self._clock())
