"""Sessions where no command of ours runs: a container's own output, and what is said of one that did not start."""

from collections.abc import Iterator

from trainlet.engine.base import Streams
from trainlet.logs.reader import LogReader


class _Deaf:
    """Takes whatever it is given, and ends well."""

    def write(self, data: bytes) -> None:
        """Drop it."""

    def close_input(self) -> None:
        """There is none."""

    def resize(self, rows: int, columns: int) -> None:
        """There is no terminal."""

    def wait(self) -> int | None:
        """Tell that all was read."""
        return 0

    def close(self) -> None:
        """There is nothing to be given back."""


class Output(_Deaf):
    """What a container writes from now on, as a Session. Here no container has an input of its own."""

    def __init__(self, reader: LogReader, step: str) -> None:
        self._reader, self._step, self._streams = reader, step, Streams()

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield what it writes, line by line."""
        for line in self._reader.follow_run(self._step, self._streams):
            yield line.stream, f"{line.text}\n".encode(errors="replace")

    def close(self) -> None:
        """Read no more."""
        self._streams.close()


class NotStarted(_Deaf):
    """A command that could not be started, as a Session that says so."""

    def __init__(self, words: str, exit_code: int) -> None:
        self._words, self._exit_code = words, exit_code

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield what is said."""
        yield "stderr", f"{self._words}\n".encode(errors="replace")

    def wait(self) -> int | None:
        """Return what a shell would end with."""
        return self._exit_code
