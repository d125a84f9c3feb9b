"""Following what is on disk: when files change, and a table that is drawn over itself on a terminal."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

POLL_SECONDS = 0.15


def watch_files(find_files: Callable[[], Iterable[Path]], tick_seconds: float = float("inf")) -> Iterator[None]:
    """Yield at once, then whenever a file came, went or changed, and at the latest after `tick_seconds`; for ever.

    By polling: a stat of each file is cheaper than loading a library for it, and sees every file system.
    """
    seen: dict[Path, tuple[int, ...]] | None = None
    last = 0.0
    while True:
        found = _look(find_files())
        if found != seen or time.monotonic() - last >= tick_seconds:
            seen, last = found, time.monotonic()
            yield
        time.sleep(POLL_SECONDS)


def _look(paths: Iterable[Path]) -> dict[Path, tuple[int, ...]]:
    found: dict[Path, tuple[int, ...]] = {}
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            continue
        found[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found


class LiveTable:
    """Lines on a terminal that are replaced by the next ones."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._height = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Replace what was drawn before; what does not fit on the screen is cut."""
        size = get_terminal_size(self._stream)
        shown = [line[: size.columns - 1] for line in lines[: size.lines - 1]]
        up = f"\x1b[{self._height}F" if self._height else ""
        self._stream.write(f"{up}\x1b[J" + "".join(f"{line}\n" for line in shown))
        self._stream.flush()
        self._height = len(shown)


def get_terminal_size(stream: TextIO) -> os.terminal_size:
    """Return the size of the terminal that a stream goes to; of one that goes elsewhere, that of old."""
    with suppress(OSError):
        size = os.get_terminal_size(stream.fileno())
        if size.columns and size.lines:
            return size
    return os.terminal_size((80, 24))


def wait_until(is_done: Callable[[], bool], timeout_seconds: float) -> bool:
    """Ask, at least once, until the answer is yes; tell whether it was before the time was over."""
    deadline = time.monotonic() + timeout_seconds
    while not is_done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(min(POLL_SECONDS, timeout_seconds))
    return True
