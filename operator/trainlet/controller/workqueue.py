"""The work queue of Kubernetes controllers (client-go util/workqueue): keys, each once, never in two hands."""

import heapq
import itertools
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BASE_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 60.0


class WorkQueue(Generic[K]):
    """Holds keys until a worker takes them. A key added while it is in hand comes back when it is done.

    `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._condition = threading.Condition()
        self._ready: dict[K, None] = {}  # ordered set
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._order = itertools.count()
        self._closed = False

    def add(self, key: K) -> None:
        """Ask for the key to be worked on as soon as a worker is free."""
        with self._condition:
            self._add(key)
            self._condition.notify()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for the key in some time; of several wishes the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        with self._condition:
            due = self._clock() + seconds
            if due < self._due.get(key, float("inf")):
                self._due[key] = due
                heapq.heappush(self._later, (due, next(self._order), key))
                self._condition.notify()

    def add_rate_limited(self, key: K) -> float:
        """Ask for the key after its back-off and return that, in seconds."""
        with self._condition:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
        delay: float = min(MAX_DELAY_SECONDS, BASE_DELAY_SECONDS * 2 ** min(failures, 20))
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Let the key's next back-off start anew."""
        with self._condition:
            self._failures.pop(key, None)

    def take(self) -> K | None:
        """Wait for a key and take it in hand; None once the queue is closed."""
        with self._condition:
            while True:
                if self._closed:
                    return None
                self._promote()
                if self._ready:
                    key = next(iter(self._ready))
                    del self._ready[key]
                    self._active.add(key)
                    return key
                self._condition.wait(self._next_wait())

    def done(self, key: K) -> None:
        """Give the key out of hand."""
        with self._condition:
            self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)
            self._condition.notify_all()

    def is_idle(self, horizon_seconds: float = 0) -> bool:
        """Tell whether nothing is to be done now nor within the horizon."""
        with self._condition:
            busy = self._ready or self._active or self._again
            soon = self._clock() + horizon_seconds
            return not busy and not any(due <= soon for due in self._due.values())

    def close(self) -> None:
        """Send all workers home."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _add(self, key: K) -> None:
        if key in self._active:
            self._again.add(key)
        else:
            self._ready.setdefault(key)

    def _promote(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key)

    def _next_wait(self) -> float | None:
        return max(0.0, self._later[0][0] - self._clock()) if self._later else None
