"""Workers settle every key: again later when asked, with back-off when it failed, and they survive bugs."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from trainlet.controller.controller import Controller
from trainlet.controller.workqueue import WorkQueue
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import ObjectKey
from waiting import wait_for


def key(name: str) -> ObjectKey:
    return ObjectKey("TrainJob", "default", name)


@contextmanager
def run(reconcile: Callable[[ObjectKey], float | None], workers: int = 1) -> Iterator[WorkQueue[ObjectKey]]:
    """Give the queue of a running controller, and stop it."""
    queue: WorkQueue[ObjectKey] = WorkQueue(time.monotonic)
    controller = Controller(queue, reconcile, workers)
    controller.start()
    try:
        yield queue
    finally:
        controller.stop(10)
    assert not [t for t in threading.enumerate() if t.name.startswith("worker-")]


def test_a_key_is_reconciled_once_and_then_rests() -> None:
    calls: list[ObjectKey] = []

    def reconcile(each: ObjectKey) -> None:
        calls.append(each)

    with run(reconcile) as queue:
        queue.add(key("a"))
        wait_for(lambda: calls and queue.is_idle(float("inf")), "the key to be done")
    assert calls == [key("a")]


def test_a_key_that_wants_to_come_again_does() -> None:
    answers = iter([0, 0.01, None])
    calls: list[ObjectKey] = []

    def reconcile(each: ObjectKey) -> float | None:
        calls.append(each)
        return next(answers)

    with run(reconcile) as queue:
        queue.add(key("a"))
        wait_for(lambda: len(calls) == 3, "three passes")


@pytest.mark.parametrize(
    ("error", "level", "words"),
    [
        (
            EngineError("the disk is full", remedy="free some"),
            logging.WARNING,
            "the disk is full: free some; next try in 0.1 s",
        ),
        (KeyError("oops"), logging.ERROR, "a bug in trainlet"),
    ],
    ids=["the world", "a bug"],
)
def test_a_failed_pass_is_tried_again_and_told(
    error: Exception, level: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[Exception | None] = [error, error, None]
    passed: list[str] = []

    def reconcile(each: ObjectKey) -> None:
        if each.name == "a" and (outcome := outcomes.pop(0)):
            raise outcome
        passed.append(each.name)

    with run(reconcile) as queue:
        queue.add(key("a"))
        queue.add(key("b"))
        wait_for(lambda: len(passed) == 2, "both keys to pass")
    assert passed == ["b", "a"], "others do not wait for one that fails"
    records = [r for r in caplog.records if r.name == "trainlet.controller.controller"]
    assert [r.levelno for r in records] == [level, level]
    assert words in records[0].getMessage()
    assert "TrainJob default/a" in records[0].getMessage()
    assert bool(records[0].exc_info) is (level == logging.ERROR)


def test_success_resets_the_back_off(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = [EngineError("x"), EngineError("x"), None, EngineError("x"), None]
    passed = threading.Semaphore(0)

    def reconcile(_: ObjectKey) -> None:
        if outcome := outcomes.pop(0):
            raise outcome
        passed.release()

    with run(reconcile) as queue:
        for _ in range(2):
            queue.add(key("a"))
            assert passed.acquire(timeout=10)
    assert [r.getMessage().split("; ")[1] for r in caplog.records] == [
        "next try in 0.1 s",
        "next try in 0.2 s",
        "next try in 0.1 s",
    ]


def test_workers_work_side_by_side() -> None:
    together = threading.Barrier(3, timeout=10)
    done: list[str] = []

    def reconcile(each: ObjectKey) -> None:
        together.wait()
        done.append(each.name)

    with run(reconcile, workers=3) as queue:
        for name in ("a", "b", "c"):
            queue.add(key(name))
        wait_for(lambda: len(done) == 3, "three passes at once")


def test_stopping_lets_what_is_in_hand_end() -> None:
    started, ended = threading.Event(), threading.Event()
    gate = threading.Event()

    def reconcile(_: ObjectKey) -> None:
        started.set()
        gate.wait(10)
        ended.set()

    with run(reconcile) as queue:
        queue.add(key("a"))
        assert started.wait(10)
        gate.set()
    assert ended.is_set()
