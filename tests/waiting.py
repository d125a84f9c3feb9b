"""Waiting for the world to come to a state, for a bounded time. Tests wait; they never sleep."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def wait_for(predicate: Callable[[], T], what: str, timeout_seconds: float = 10, *, poll_seconds: float = 0.02) -> T:
    """Ask until the answer is true and return it. Raises AssertionError that names what was awaited.

    The time is a bound on hangs, as long as a quiet machine never needs; a busy one has three times as much.
    """
    deadline = time.monotonic() + 3 * timeout_seconds
    while not (answer := predicate()):
        assert time.monotonic() < deadline, f"waited {3 * timeout_seconds} s for {what}, last seen: {answer!r}"
        time.sleep(poll_seconds)
    return answer


@contextmanager
def running(command: Sequence[str], **options: Any) -> "Iterator[subprocess.Popen[Any]]":
    """Run a program for as long as the block lasts; a test that fails in between does not wait for its end."""
    with subprocess.Popen(command, **options) as program:
        try:
            yield program
        finally:
            program.kill()
