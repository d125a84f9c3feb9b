"""A job's logs: from the engine while a node's container exists, from the kept files afterwards, each line once."""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, Queue

from trainlet.engine.base import Engine, LogLine, Streams
from trainlet.kube.errors import EngineError
from trainlet.logs.lines import KeptLogs, SeenLines
from trainlet.planning import labels
from trainlet.planning.observed import ContainerState, ObservedContainer

_POLL_SECONDS = 0.2
_MAX_WAITING_LINES = 10_000
_BEGINNING = datetime.min.replace(tzinfo=UTC)

NodeLine = tuple[str, LogLine]


@dataclass(frozen=True)
class JobState:
    """What following needs to know of a job: its steps, and whether no line can come any more."""

    steps: Sequence[str]
    is_over: bool


@dataclass
class _Node:
    """How far one step was read. `drained` is the run of a container whose stream came to its end."""

    seen: SeenLines
    drained: tuple[str, datetime | None] | None = None
    is_reading: bool = False
    kept_state: tuple[int, ...] = ()
    is_new: Callable[[LogLine], bool] = field(default=lambda _: True)


class LogReader:
    """Reads the logs of one job. `engine` None means that only the kept files can be had."""

    def __init__(
        self, engine: Engine | None, owner_uid: str, kept: KeptLogs, *, tail: int | None, since: datetime | None
    ) -> None:
        self._engine, self._owner_uid, self._kept = engine, owner_uid, kept
        self._tail, self._since = tail, since
        self._nodes: dict[str, _Node] = {}
        self._arrivals: Queue[tuple[str, LogLine | None, bool]] = Queue(_MAX_WAITING_LINES)
        self.problem: EngineError | None = None

    def read_present(self, steps: Sequence[str], *, following: bool = False) -> Iterator[NodeLine]:
        """Yield what there is now of each step's last attempt, by time; `following`: `follow` goes on after it."""
        containers = self._observe()
        parts = [self._read_step(step, containers.get(step), following) for step in steps]
        return heapq.merge(*parts, key=lambda item: item[1].time or _BEGINNING)

    def read_previous(self, steps: Sequence[str]) -> Iterator[NodeLine]:
        """Yield the lines of the attempt before each step's last one."""
        containers = self._observe()
        for step in steps:
            seen = SeenLines(self._since)
            lines = self._kept.read(step, previous=self._is_kept(step, containers.get(step)))
            for line in deque(seen.take(lines), maxlen=self._tail):
                yield step, line

    def follow_run(self, step: str, streams: Streams) -> Iterator[LogLine]:
        """Yield the lines of a step's last attempt, and those that come until it ends or the streams are closed."""
        return self._read_last(step, self._observe().get(step), self._tail, streams)

    def follow(self, read_state: Callable[[], JobState]) -> Iterator[NodeLine]:
        """Yield lines as they come, over restarts, until the job is over and all was read."""
        while True:
            # Asked before looking, so that what came until then is still read.
            state = read_state()
            containers = self._observe()
            for step in state.steps:
                yield from self._advance(step, containers.get(step))
            if state.is_over and not any(node.is_reading for node in self._nodes.values()) and self._arrivals.empty():
                return
            yield from self._take_arrivals()

    def _observe(self) -> dict[str, ObservedContainer]:
        """Return the containers that have run, by step; none if the engine does not answer."""
        if self._engine is None:
            return {}
        try:
            containers = self._engine.observe(self._owner_uid).containers
        except EngineError as error:
            self.problem = error
            return {}
        self.problem = None
        return {
            container.labels.get(labels.STEP, container.name): container
            for container in sorted(containers, key=lambda container: container.attempt)
            if container.state is not ContainerState.CREATED
        }

    def _get_node(self, step: str) -> _Node:
        return self._nodes.setdefault(step, _Node(SeenLines(self._since)))

    def _is_kept(self, step: str, container: ObservedContainer | None) -> bool:
        """Tell whether the last kept log is that of the step's last attempt, not of the one before."""
        if container is None or self._engine is None:
            return True
        try:
            live = next(self._engine.read_logs(container.id), None)
        except EngineError:
            return True  # it went away in this moment
        kept = next(self._kept.read(step), None)
        return (kept.time if kept else None) == (live.time if live else None)

    def _read_step(self, step: str, container: ObservedContainer | None, following: bool) -> Iterator[NodeLine]:
        node = self._get_node(step)
        before = list(self._kept.read_all(step)) if following else []
        # The engine's own tail is quick, but then nobody knows what was left out, and following must.
        tail = None if following else self._tail
        lines = self._read_last(step, container, tail)
        yield from ((step, line) for line in (lines if self._tail is None else deque(lines, maxlen=self._tail)))
        deque(node.seen.take(before), maxlen=0)

    def _read_last(
        self, step: str, container: ObservedContainer | None, tail: int | None, streams: Streams | None = None
    ) -> Iterator[LogLine]:
        """Yield the lines of a step's last attempt; with `streams` also those that come until they are closed."""
        seen, follow = self._get_node(step).seen, streams is not None
        if container is not None and self._engine is not None:
            read = self._engine.read_logs
            try:
                yield from seen.take(read(container.id, follow=follow, since=self._since, tail=tail, streams=streams))
                return
            except EngineError as error:
                is_gone = step not in self._observe() and self.problem is None
                if follow and not is_gone:
                    raise  # who follows would take it for the end
                self.problem = error  # it went away in this moment, and its log was kept before
        lines = seen.take(self._kept.read(step))
        yield from lines if tail is None else deque(lines, maxlen=tail)

    def _advance(self, step: str, container: ObservedContainer | None) -> Iterator[NodeLine]:
        """Catch up with the kept files, then begin to read the step's container if it has more to say."""
        node = self._get_node(step)
        if node.is_reading:
            return
        for line in self._catch_up(step, node):
            yield step, line
        if container is None:
            return
        run = (container.id, container.started_at)
        if container.state is ContainerState.RUNNING or node.drained != run:
            node.is_reading, node.is_new = True, node.seen.begin()
            node.drained = run
            arguments = (step, container.id, node.seen.resume_time)
            threading.Thread(target=self._pump, args=arguments, name=f"logs of {step}", daemon=True).start()

    def _catch_up(self, step: str, node: _Node) -> Iterator[LogLine]:
        state = self._look_at_kept(step)
        if state != node.kept_state:
            node.kept_state = state
            yield from node.seen.take(self._kept.read_all(step))

    def _look_at_kept(self, step: str) -> tuple[int, ...]:
        try:
            stat = self._kept.get_path(step).stat()
        except OSError:
            return ()
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def _pump(self, step: str, container_id: str, since: datetime | None) -> None:
        """Hand the lines of a container over until it ends; in a thread of its own."""
        assert self._engine is not None
        is_complete = True
        try:
            for line in self._engine.read_logs(container_id, follow=True, since=since):
                self._arrivals.put((step, line, True))
        except EngineError:
            is_complete = False
        self._arrivals.put((step, None, is_complete))

    def _take_arrivals(self) -> Iterator[NodeLine]:
        """Yield what arrives within a moment; not for longer, as other nodes may have begun."""
        deadline = time.monotonic() + _POLL_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                step, line, is_complete = self._arrivals.get(timeout=left)
            except Empty:
                return
            node = self._get_node(step)
            if line is not None and node.is_new(line):
                yield step, line
            elif line is None:
                node.is_reading = False
                node.drained = node.drained if is_complete else None
