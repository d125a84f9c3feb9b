"""Calls are made side by side, so many at once; one that hangs keeps neither the others nor the program's end."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from trainlet.controller.calls import CallPool

HANG = """
import threading
from trainlet.controller.calls import CallPool
begun = threading.Event()
CallPool(2, "calls").submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
"""


@pytest.fixture
def pool() -> Iterator[CallPool]:
    pool = CallPool(2, "calls")
    yield pool
    pool.shutdown()


def test_results_and_errors_come_back(pool: CallPool) -> None:
    assert [future.result(10) for future in [pool.submit(divmod, 7, n) for n in (1, 2, 3)]] == [(7, 0), (3, 1), (2, 1)]
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(10)
    assert pool.submit(int, "12", base=8).result(10) == 10


def test_so_many_are_made_at_once_and_no_more(pool: CallPool) -> None:
    together, gate, third = threading.Barrier(3, timeout=10), threading.Event(), threading.Event()

    def call() -> bool:
        together.wait()
        return gate.wait(10)

    first = [pool.submit(call) for _ in range(2)]
    last = pool.submit(third.set)
    together.wait()
    assert not third.is_set()
    gate.set()
    last.result(10)
    assert [future.result(10) for future in first] == [True, True]


def test_a_call_that_waits_can_be_given_up(pool: CallPool) -> None:
    gate = threading.Event()
    for _ in range(2):
        pool.submit(gate.wait, 10)
    waiting = pool.submit(gate.wait, 10)
    assert waiting.cancel()
    gate.set()
    assert pool.submit(int).result(10) == 0


def test_a_program_ends_though_a_call_hangs() -> None:
    assert subprocess.run([sys.executable, "-c", HANG], timeout=20, check=False).returncode == 0
