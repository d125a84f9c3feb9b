"""Keys wait once, are never in two hands, and come back when they were promised to."""

import threading
import time
from dataclasses import dataclass

import pytest

from exposition import parse
from trainlet.controller.metrics import ADDS, QUEUE_DURATION, RETRIES, WORK_DURATION, render
from trainlet.controller.workqueue import BASE_DELAY_SECONDS, MAX_DELAY_SECONDS, Load, WorkQueue
from waiting import wait_for


@dataclass
class Clock:
    """Seconds that go on only when they are told to."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock)


def test_keys_come_in_the_order_they_were_added_each_once(queue: WorkQueue[str]) -> None:
    for key in ("b", "a", "b", "c", "a"):
        queue.add(key)
    assert [queue.take() for _ in range(3)] == ["b", "a", "c"]
    for key in ("a", "b", "c"):
        queue.done(key)
    assert queue.is_idle()


def test_a_key_in_hand_comes_back_when_it_is_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert queue.take() == "b", "a is in hand"
    queue.done("a")
    assert queue.take() == "a"
    queue.done("a")
    queue.done("b")
    assert queue.is_idle()


def test_a_promised_key_comes_at_its_time(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("late", 10)
    queue.add("now")
    assert queue.take() == "now"
    queue.done("now")
    assert queue.is_idle()
    clock.seconds = 9.9
    assert queue.is_idle()
    clock.seconds = 10
    assert not queue.is_idle()
    assert queue.take() == "late"


@pytest.mark.parametrize("delays", [(5, 20), (20, 5), (20, 5, 7)])
def test_the_earliest_promise_counts_and_is_kept_once(
    queue: WorkQueue[str], clock: Clock, delays: tuple[float, ...]
) -> None:
    for delay in delays:
        queue.add_after("a", delay)
    clock.seconds = 5
    assert queue.take() == "a"
    queue.done("a")
    clock.seconds = 100
    assert queue.is_idle(), "the later promises are void"


def test_a_delay_of_nothing_is_now(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0)
    queue.add_after("b", -1)
    assert [queue.take(), queue.take()] == ["a", "b"]


def test_a_promised_key_that_is_in_hand_waits_until_it_is_done(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    queue.take()
    queue.add_after("a", 1)
    queue.add_after("b", 2)
    clock.seconds = 2
    assert queue.take() == "b", "a is in hand"
    queue.done("a")
    assert queue.take() == "a"


def test_back_off_doubles_to_a_limit_and_starts_anew_after_success(queue: WorkQueue[str]) -> None:
    delays = [queue.add_rate_limited("a") for _ in range(12)]
    assert delays[:3] == [BASE_DELAY_SECONDS, 2 * BASE_DELAY_SECONDS, 4 * BASE_DELAY_SECONDS]
    assert delays[-1] == MAX_DELAY_SECONDS
    assert queue.add_rate_limited("b") == BASE_DELAY_SECONDS, "keys have back-offs of their own"
    queue.forget("a")
    queue.forget("never seen")
    assert queue.add_rate_limited("a") == BASE_DELAY_SECONDS


def test_a_key_may_fail_for_ever(queue: WorkQueue[str]) -> None:
    assert {queue.add_rate_limited("a") for _ in range(2000)} >= {MAX_DELAY_SECONDS}


def test_what_idle_means(queue: WorkQueue[str], clock: Clock) -> None:
    assert queue.is_idle(float("inf"))
    queue.add_after("a", 10)
    assert queue.is_idle()
    assert queue.is_idle(9)
    assert not queue.is_idle(11)
    clock.seconds = 10
    queue.take()
    assert not queue.is_idle(), "a key in hand is work"
    queue.done("a")
    assert queue.is_idle(float("inf"))


def test_what_waits_and_what_is_in_hand_is_measured(queue: WorkQueue[str], clock: Clock) -> None:
    for name in ("a", "b", "c", "d"):
        queue.add(name)
    queue.take()
    clock.seconds = 2
    queue.take()
    clock.seconds = 5
    queue.add("a")
    assert queue.measure() == Load(depth=2, unfinished_seconds=8, longest_seconds=5)
    queue.done("a")
    assert queue.measure() == Load(depth=3, unfinished_seconds=3, longest_seconds=3)


def test_a_key_is_counted_when_it_is_news_and_timed_once_a_turn(clock: Clock) -> None:
    queue: WorkQueue[str] = WorkQueue(clock, "counted")
    queue.add("a")
    queue.add("a")
    clock.seconds = 2
    assert queue.take() == "a"
    queue.add("a")
    queue.add("a")
    clock.seconds = 5
    queue.done("a")
    assert queue.take() == "a"
    queue.add_rate_limited("a")
    queue.done("a")
    found = parse(render([ADDS, RETRIES, QUEUE_DURATION, WORK_DURATION]))
    told = {name: value for (name, labels), value in found.items() if labels == (("name", "counted"),)}
    assert told == {
        "workqueue_adds_total": 2,
        "workqueue_retries_total": 1,
        "workqueue_queue_duration_seconds_sum": 2,
        "workqueue_queue_duration_seconds_count": 2,
        "workqueue_work_duration_seconds_sum": 3,
        "workqueue_work_duration_seconds_count": 2,
    }


def test_closing_sends_those_who_wait_home_and_those_who_come(queue: WorkQueue[str]) -> None:
    answers: list[str | None] = []
    waiters = [threading.Thread(target=lambda: answers.append(queue.take())) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    queue.close()
    for waiter in waiters:
        waiter.join(5)
    queue.add("a")
    assert [*answers, queue.take()] == [None] * 4


def test_a_waiting_worker_wakes_for_a_key(queue: WorkQueue[str]) -> None:
    taken: list[str | None] = []
    worker = threading.Thread(target=lambda: taken.append(queue.take()))
    worker.start()
    queue.add("a")
    worker.join(5)
    assert taken == ["a"]


def test_a_waiting_worker_wakes_for_an_earlier_promise() -> None:
    queue: WorkQueue[str] = WorkQueue(time.monotonic)
    taken: list[str | None] = []
    queue.add_after("late", 3600)
    worker = threading.Thread(target=lambda: taken.append(queue.take()), daemon=True)
    worker.start()
    queue.add_after("early", 0.01)
    worker.join(5)
    assert taken == ["early"]


def test_no_key_is_ever_in_two_hands_and_none_is_lost(queue: WorkQueue[str]) -> None:
    lock, in_hand, seen = threading.Lock(), set[str](), dict[str, int]()
    clashes: list[str] = []
    wanted = {f"key-{number}": 0 for number in range(5)}

    def work() -> None:
        while (key := queue.take()) is not None:
            with lock:
                if key in in_hand:
                    clashes.append(key)
                in_hand.add(key)
            newest = wanted[key]
            with lock:
                seen[key] = max(newest, seen.get(key, 0))
                in_hand.discard(key)
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for number in range(1, 400):
        for key in wanted:
            wanted[key] = number
            queue.add(key)
    wait_for(queue.is_idle, "all keys to be done")
    queue.close()
    for worker in workers:
        worker.join(5)
    assert clashes == []
    assert seen == wanted, "the last state of every key was seen"
