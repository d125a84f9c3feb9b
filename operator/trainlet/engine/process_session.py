"""A command beside a node's own, as the process engine runs it, with its streams in our hands: pipes or a terminal."""

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from trainlet.engine import process_table as table
from trainlet.engine.base import Streams
from trainlet.engine.process_command import kill_tree, read_end

_READ_BYTES = 65536
#: How long it may take to notice that the command has ended or the session was closed.
_POLL_SECONDS = 0.05
_END_OF_INPUT = b"\x04"
#: Makes the terminal that is its input its own. Popen could do so only between fork and exec, where other threads'
#: locks may be held for ever.
_TAKE_TERMINAL = """
import errno, fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    print(f"{sys.argv[1]}: {error.strerror}")
    sys.exit(127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126)
"""


@dataclass
class _Ends:
    """The descriptors of a command's streams: ours by what they carry, and its own three."""

    input: int | None
    outputs: dict[int, str]
    theirs: tuple[int, int, int]
    is_terminal: bool = False

    def close_theirs(self) -> None:
        """Give back what only the command needs."""
        for fd in set(self.theirs):
            os.close(fd)

    def close(self) -> None:
        """Give ours back."""
        for fd in {*self.outputs, *(() if self.input is None else (self.input,))}:
            os.close(fd)


def _open_pipes(*, with_input: bool) -> _Ends:
    (out, their_out), (err, their_err) = os.pipe(), os.pipe()
    their_input, ours = os.pipe() if with_input else (os.open(os.devnull, os.O_RDONLY), None)
    if ours is not None:
        os.set_blocking(ours, False)
    return _Ends(ours, {out: "stdout", err: "stderr"}, (their_input, their_out, their_err))


def _open_terminal() -> _Ends:
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    return _Ends(ours, {ours: "stdout"}, (theirs, theirs, theirs), is_terminal=True)


class ProcessSession:
    """Implements Session for a process that leads a session of its own; `streams` ends it with its engine.

    Whoever else may write is not waited for.
    """

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        working_dir: str,
        streams: Streams,
        *,
        with_input: bool,
        with_terminal: bool,
    ) -> None:
        """Start the command. Raises OSError where it cannot be started; one with a terminal then says so itself."""
        self._ends = _open_terminal() if with_terminal else _open_pipes(with_input=with_input)
        command = [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *argv] if with_terminal else argv
        stdin, stdout, stderr = self._ends.theirs
        try:
            self._process = subprocess.Popen(
                command,
                env=env,
                cwd=working_dir,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError:
            self._ends.close()
            raise
        finally:
            self._ends.close_theirs()
        leader = table.find_process(self._process.pid)
        self._start = leader.start if leader else ""
        self._closed = threading.Event()
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._streams = streams
        streams.add(self, self.close)

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the command writes."""
        poll, rest = select.poll(), dict(self._ends.outputs)
        for fd in rest:
            poll.register(fd, select.POLLIN)
        while rest:
            with self._reading:
                if self._closed.is_set():
                    return
                has_ended = self._process.poll() is not None
                ready = [fd for fd, _ in poll.poll(0 if has_ended else _POLL_SECONDS * 1000)]
                pieces = [(fd, _read(fd)) for fd in ready]
            if has_ended and not ready:
                return
            for fd, data in pieces:
                if data:
                    yield rest[fd], data
                else:
                    poll.unregister(fd)
                    del rest[fd]

    def write(self, data: bytes) -> None:
        """Give the command something to read, piece by piece as it takes it."""
        left = memoryview(data)
        while left:
            with self._writing:
                if self._closed.is_set() or self._ends.input is None or self._process.poll() is not None:
                    return
                left = left[_write(self._ends.input, left) :]

    def close_input(self) -> None:
        """Let the input end: a terminal says so in band."""
        if self._ends.is_terminal:
            self.write(_END_OF_INPUT)
            return
        with self._writing:
            if self._ends.input is not None and not self._closed.is_set():
                os.close(self._ends.input)
                self._ends.input = None

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size."""
        with self._writing:
            if self._ends.is_terminal and not self._closed.is_set() and self._ends.input is not None:
                fcntl.ioctl(self._ends.input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self) -> int | None:
        """Return the exit code, 128+N for signal N."""
        while not self._closed.is_set():
            with suppress(subprocess.TimeoutExpired):
                return read_end(self._process.wait(_POLL_SECONDS))
        return None

    def close(self) -> None:
        """Kill the command with its children, and give its streams back once nobody uses them."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._streams.discard(self)
        if self._process.poll() is None:
            kill_tree(self._process.pid, self._start)
            self._process.kill()
        with self._reading, self._writing:
            self._process.wait()
            self._ends.close()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _READ_BYTES)
    except OSError:  # how Linux says that nobody has the terminal any more
        return b""


def _write(fd: int, data: memoryview) -> int:
    """Write as much as is taken within a moment; what nobody can read any more counts as written."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(_POLL_SECONDS * 1000):
        return 0
    try:
        return os.write(fd, data[:_READ_BYTES])
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)
