"""The work queue of Kubernetes controllers (client-go util/workqueue): keys, each once, never in two hands."""

import heapq
import itertools
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from trainlet.controller.metrics import ADDS, QUEUE_DURATION, RETRIES, WORK_DURATION

K = TypeVar("K", bound=Hashable)

BASE_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 60.0


@dataclass(frozen=True)
class Load:
    """How many keys wait, how long those in hand have been there all together, and the one that is for longest."""

    depth: int
    unfinished_seconds: float
    longest_seconds: float


class WorkQueue(Generic[K]):
    """Holds keys until a worker takes them. A key added while it is in hand comes back when it is done.

    `clock` gives monotonic seconds; `name` is what metrics call the queue.
    """

    def __init__(self, clock: Callable[[], float], name: str = "") -> None:
        self._clock, self._name = clock, name
        self._condition = threading.Condition()
        self._ready: dict[K, float] = {}  # since when, in their order
        self._active: dict[K, float] = {}
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
        RETRIES.add(self._name)
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
                    now = self._clock()
                    QUEUE_DURATION.observe(now - self._ready.pop(key), self._name)
                    self._active[key] = now
                    return key
                self._condition.wait(self._next_wait())

    def done(self, key: K) -> None:
        """Give the key out of hand."""
        with self._condition:
            since = self._active.pop(key, None)
            if since is not None:
                WORK_DURATION.observe(self._clock() - since, self._name)
            if key in self._again:
                self._again.discard(key)
                self._ready[key] = self._clock()
            self._condition.notify_all()

    def is_idle(self, horizon_seconds: float = 0) -> bool:
        """Tell whether nothing is to be done now nor within the horizon."""
        with self._condition:
            busy = self._ready or self._active or self._again
            soon = self._clock() + horizon_seconds
            return not busy and not any(due <= soon for due in self._due.values())

    def measure(self) -> Load:
        """Return what there is to do, and for how long it has been under way."""
        with self._condition:
            ages = [self._clock() - since for since in self._active.values()]
            return Load(len(self._ready), sum(ages), max(ages, default=0.0))

    def close(self) -> None:
        """Send all workers home."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _add(self, key: K) -> None:
        is_active = key in self._active
        if key in self._again or key in self._ready:
            return
        ADDS.add(self._name)
        if is_active:
            self._again.add(key)
        else:
            self._ready[key] = self._clock()

    def _promote(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key)

    def _next_wait(self) -> float | None:
        return max(0.0, self._later[0][0] - self._clock()) if self._later else None
