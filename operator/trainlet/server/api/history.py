"""What changed lately, by resource: a log that every watch reads at its own pace.

Writers only append and ring a bell. There is one log for all watches, so a slow one costs nothing: when what it has
not read yet is no longer kept, it is told so and ends.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field

from trainlet.kube.meta import JSON
from trainlet.server.api.reading import StoreReader
from trainlet.server.api.resources import RESOURCES
from trainlet.server.api.types import Resource
from trainlet.store import Change, ChangeType, get_version

#: How many changes of each resource are kept at least.
KEPT = 2000


class Expired(Exception):
    """What is asked for is no longer kept, or is not yet."""


@dataclass(frozen=True, eq=False)
class Event:
    """One change as watches show it; `old` is the object before. `frames` keeps what it was encoded to."""

    version: int
    type: ChangeType
    object: JSON
    old: JSON | None = None
    frames: dict[Hashable, bytes] = field(default_factory=dict)


class _Log:
    """The changes of one resource. One thread appends at a time, any may read."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.floor = 0  # all changes after this version are here

    def append(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) >= KEPT + KEPT // 4:
            # The new floor is set first: who reads meanwhile may be told too early that it is late, and never too late.
            self.floor = self.events[-KEPT - 1].version
            self.events = self.events[-KEPT:]

    def read_after(self, version: int) -> list[Event]:
        events = self.events
        found = events[bisect_right(events, version, key=lambda event: event.version) :]
        if version < self.floor:
            raise Expired
        return found


class History:
    """The changes of a reader's objects from now on. Its methods are for the loop that it was made in."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader, self._loop, self._bell = reader, asyncio.get_running_loop(), asyncio.Event()
        self._is_rung, self._is_closed, self._version = False, False, 0
        self._logs = {resource: _Log() for resource in RESOURCES}
        self._start = reader.subscribe(self._append)
        for log in self._logs.values():
            log.floor = max(log.floor, self._start)

    def _append(self, change: Change) -> None:
        """Keep a change. Called by whoever writes, in the order of versions."""
        version = get_version(change.object)
        for resource, type, shown, old in self._reader.show_change(change):
            self._logs[resource].append(Event(version, type, shown, old))
        self._version = version
        if not self._is_rung and not self._is_closed:
            self._is_rung = True
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._is_rung = False
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    @property
    def version(self) -> int:
        """The version of the last change of anything."""
        return max(self._start, self._version)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._is_closed

    def read_after(self, resource: Resource, version: int) -> list[Event]:
        """Return the changes after a version. Raises Expired for one that is too old, or that is not ours."""
        # A watch may have read a change that is not counted yet.
        if version > self.version and version > self._reader.version:
            raise Expired
        return self._logs[resource].read_after(version)

    async def wait(self, timeout_seconds: float | None) -> None:
        """Return when something may have changed, when all is over, or after this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._bell.wait()

    def close(self) -> None:
        """End all that wait."""
        self._is_closed = True
        self._wake()
