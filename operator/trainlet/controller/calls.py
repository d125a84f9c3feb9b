"""A few threads for calls that may hang: at its end the program does not wait for them."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class CallPool(Executor):
    """Makes calls in at most so many threads, which begin when they are needed.

    That of concurrent.futures itself keeps a program from ending until all its calls have returned.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size, self._name = size, name
        self._lock = threading.Lock()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = self._unfinished = 0
        self._is_closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Let one of the threads make a call when it is free."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        with self._lock:
            self._unfinished += 1
            if self._threads < min(self._size, self._unfinished):
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
            self._calls.put(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Send the threads home as they become free; calls that wait are not made any more."""
        self._is_closed = True
        for _ in range(self._size):
            self._calls.put(lambda: None)

    def _work(self) -> None:
        while not self._is_closed:
            self._calls.get()()
            with self._lock:
                self._unfinished -= 1
