"""Reading a node's log: its last lines, what came since, what comes; across rotation. It only reads."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from trainlet.engine.base import LogLine
from trainlet.engine.process_files import LOG, LOG_BEFORE


def read_lines(
    directory: Path,
    *,
    since: datetime | None,
    tail: int | None,
    wait: Callable[[], bool] | None = None,
) -> Iterator[LogLine]:
    """Yield the lines that are there, then, with `wait`, those that come until it returns False.

    `wait` is asked at the end of the log, pauses a moment, and tells whether more may have been written.
    """
    reader = LogReader(directory)
    try:
        present: Iterable[LogLine] = _select(reader.read(), since)
        yield from present if tail is None else deque(present, maxlen=tail)
        while wait:
            is_last = not wait()
            yield from _select(reader.read(), since)
            if is_last:
                return
    finally:
        reader.close()


class LogReader:
    """A place in the log that stays right when the log is rotated, and when another node takes the directory's name.

    Raises FileNotFoundError when made, if the directory is gone.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = os.open(directory, os.O_RDONLY)
        self._file: BinaryIO | None = None
        self._rest = b""

    def read(self) -> Iterator[LogLine]:
        """Yield the complete lines from here to the end."""
        while True:
            # Asked before reading, as the last line before a rotation is written before the rotation.
            following = self._open_next()
            if self._file:
                yield from self._read_file(self._file)
            if not following:
                return
            self._close_file()
            self._file, self._rest = following, b""

    def close(self) -> None:
        """Give the files back."""
        self._close_file()
        os.close(self._directory)

    def _open_next(self) -> BinaryIO | None:
        """Open the part of the log that follows ours, if we are not in the current one."""
        if self._is_in(LOG):
            return None
        for name in (LOG,) if self._is_in(LOG_BEFORE) else (LOG_BEFORE, LOG):
            try:
                return os.fdopen(os.open(name, os.O_RDONLY, dir_fd=self._directory), "rb")
            except FileNotFoundError:
                continue
        return None

    def _is_in(self, name: str) -> bool:
        if not self._file:
            return False
        try:
            there = os.stat(name, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(self._file.fileno()), there)

    def _close_file(self) -> None:
        if self._file:
            self._file.close()

    def _read_file(self, file: BinaryIO) -> Iterator[LogLine]:
        while data := file.read(1024 * 1024):
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from map(parse_line, lines)


def parse_line(line: bytes) -> LogLine:
    """Read `TIME STREAM TEXT`; what is not of this form is all text."""
    text = line.decode(errors="replace").removesuffix("\r")
    time, _, rest = text.partition(" ")
    stream, _, content = rest.partition(" ")
    try:
        return LogLine(content, datetime.fromisoformat(time), stream)
    except ValueError:
        return LogLine(text)


def _select(lines: Iterable[LogLine], since: datetime | None) -> Iterator[LogLine]:
    earliest = since or datetime.min.replace(tzinfo=UTC)
    return (line for line in lines if line.time is None or line.time >= earliest)
