"""Workers: take a key, reconcile it, settle it. The one place where an unknown error is caught."""

import logging
import threading
import time
from collections.abc import Callable

from trainlet.controller.metrics import RECONCILE_DURATION, RECONCILE_ERRORS
from trainlet.controller.workqueue import WorkQueue
from trainlet.kube.errors import TrainletError
from trainlet.kube.meta import ObjectKey

log = logging.getLogger(__name__)

#: Reconciles a key; returns seconds until it wants to be called again, None for the next event.
Reconcile = Callable[[ObjectKey], float | None]


class Controller:
    """N workers on one queue."""

    def __init__(self, queue: WorkQueue[ObjectKey], reconcile: Reconcile, workers: int) -> None:
        self._queue, self._reconcile = queue, reconcile
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(workers)
        ]

    def start(self) -> None:
        """Start the workers. The sources must have told all they know before."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Let the workers end what they have in hand."""
        self._queue.close()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                self._settle(key)
            finally:
                self._queue.done(key)

    def _settle(self, key: ObjectKey) -> None:
        begun = time.perf_counter()
        result = self._try(key)
        RECONCILE_DURATION.observe(time.perf_counter() - begun, result)

    def _try(self, key: ObjectKey) -> str:
        """Make one pass and see to the next; return how it went, in controller-runtime's words."""
        try:
            after = self._reconcile(key)
        except TrainletError as error:
            RECONCILE_ERRORS.add(type(error).__name__)
            delay = self._queue.add_rate_limited(key)
            log.warning("%s: %s; next try in %.1f s", key, error, delay)
        except Exception as error:
            RECONCILE_ERRORS.add(type(error).__name__)
            delay = self._queue.add_rate_limited(key)
            log.exception("%s: a bug in trainlet; next try in %.1f s", key, delay)
        else:
            self._queue.forget(key)
            if after is None:
                return "success"
            self._queue.add_after(key, after)
            return "requeue_after" if after else "requeue"
        return "error"
