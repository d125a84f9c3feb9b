"""Waiting for the world to come to a state, for a bounded time. Tests wait; they never sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.02


def wait_for(predicate: Callable[[], T], what: str, timeout_seconds: float = 10) -> T:
    """Ask until the answer is true and return it. Raises AssertionError that names what was awaited."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := predicate()):
        assert time.monotonic() < deadline, f"waited {timeout_seconds} s for {what}, last seen: {answer!r}"
        time.sleep(_POLL_SECONDS)
    return answer
