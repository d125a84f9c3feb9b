"""Log lines of one node from several sources, each line once; and the log files that are kept.

The same log may be read from the engine and, after the container is gone, from its kept file. Lines are told apart
by their times, which are the same in both.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import LogLine
from trainlet.kube.meta import parse_time

#: The two streams of a container are stamped apart, so that lines may be a little out of order.
_DISORDER = timedelta(seconds=1)


class SeenLines:
    """Knows which lines of a node were taken already, so that another source of its log can go on after them."""

    def __init__(self, since: datetime | None = None) -> None:
        self._since = since
        self._newest: datetime | None = None
        self._recent: deque[tuple[datetime, str]] = deque()

    @property
    def resume_time(self) -> datetime | None:
        """From when on a source must be read; lines before it were all taken."""
        return self._newest - _DISORDER if self._newest else self._since

    def begin(self) -> Callable[[LogLine], bool]:
        """Begin with one source; the function tells of each of its lines, in their order, whether it is new."""
        floor, known = self.resume_time, Counter(self._recent)

        def is_new(line: LogLine) -> bool:
            if line.time is None:
                return True
            if floor is not None and line.time < floor:
                return False
            key = (line.time, line.text)
            if known[key]:
                known[key] -= 1
                return False
            self._remember(line.time, line.text)
            return True

        return is_new

    def take(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Yield the lines of one source that are new."""
        is_new = self.begin()
        return (line for line in lines if is_new(line))

    def _remember(self, time: datetime, text: str) -> None:
        self._newest = max(time, self._newest or time)
        self._recent.append((time, text))
        while self._recent[0][0] < self._newest - _DISORDER:
            self._recent.popleft()


@dataclass(frozen=True)
class KeptLogs:
    """The log files of one job in the status directory."""

    status_dir: StatusDir
    namespace: str
    name: str

    def get_path(self, step: str, *, previous: bool = False) -> Path:
        """Return where the log of a step's last kept attempt is, or of the one before it."""
        return self.status_dir.log_path(self.namespace, self.name, step, previous=previous)

    def read(self, step: str, *, previous: bool = False) -> Iterator[LogLine]:
        """Yield the lines of a kept attempt; none if there is no such file."""
        try:
            with self.get_path(step, previous=previous).open(encoding="utf-8", errors="replace", newline="\n") as file:
                for text in file:
                    yield parse_line(text.removesuffix("\n"))
        except FileNotFoundError:
            return

    def read_all(self, step: str) -> Iterator[LogLine]:
        """Yield the lines of both kept attempts, the older first."""
        yield from self.read(step, previous=True)
        yield from self.read(step)


def parse_line(text: str) -> LogLine:
    """Read `TIME TEXT`; a line without a time has `-` in its place, and anything else is all text."""
    stamp, space, rest = text.partition(" ")
    if stamp == "-" and space:
        return LogLine(rest)
    try:
        return LogLine(rest, parse_time(stamp))
    except ValueError:
        return LogLine(text)
