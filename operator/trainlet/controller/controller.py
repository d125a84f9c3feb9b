"""Workers: take a key, reconcile it, settle it. The one place where an unknown error is caught."""

import logging
import threading
from collections.abc import Callable

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
        for thread in self._threads:
            thread.join(timeout_seconds)

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                self._settle(key)
            finally:
                self._queue.done(key)

    def _settle(self, key: ObjectKey) -> None:
        try:
            after = self._reconcile(key)
        except TrainletError as error:
            delay = self._queue.add_rate_limited(key)
            log.warning("%s: %s; next try in %.1f s", key, error, delay)
        except Exception:
            delay = self._queue.add_rate_limited(key)
            log.exception("%s: a bug in trainlet; next try in %.1f s", key, delay)
        else:
            self._queue.forget(key)
            if after is not None:
                self._queue.add_after(key, after)
