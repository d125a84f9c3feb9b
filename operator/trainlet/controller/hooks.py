"""Lifecycle hooks: what is done in a container right after its start, and before it is asked to end.

They run beside the reconcile passes, each in a thread of its own, because every one of a job's containers has its grace
period at the same time. A pass that kills a container at the end of its grace period ends its hook with it.
"""

import logging
import threading
from collections.abc import Callable

from trainlet.apis.core_v1 import Handler
from trainlet.controller.handlers import Handlers, Place
from trainlet.engine.base import Engine
from trainlet.kube.errors import EngineError
from trainlet.planning.events import WARNING, Note

log = logging.getLogger(__name__)

#: Called with what is to be told of the container's job.
Tell = Callable[[Note], None]

#: A postStart hook has no timeout: one that never ends keeps its container from being ready.
POST_START_SECONDS = 24 * 3600.0


class Hooks:
    """Runs hooks on one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._handlers = engine, Handlers(engine)
        self._lock = threading.Lock()
        self._starting: set[str] = set()
        self._stopping: set[str] = set()

    @property
    def starting(self) -> frozenset[str]:
        """The containers whose postStart hook runs: they are not ready yet, as on a kubelet."""
        with self._lock:
            return frozenset(self._starting)

    def run_post_start(self, name: str, place: Place, hook: Handler, tell: Tell, done: Callable[[], None]) -> None:
        """Run the hook of a container that was just started; one whose hook fails is killed.

        `name` is the container's for people. `done` is called at the end, so that somebody looks again.
        """

        def run() -> None:
            answer = self._handlers.run(place, hook, POST_START_SECONDS)
            if answer.message:
                tell(Note(WARNING, "FailedPostStartHook", f"{name}: the postStart hook {answer.message}"))
            if not answer.ok:
                self._engine.kill_container(place.id)

        self._spawn(self._starting, place.id, run, done)

    def stop(self, name: str, place: Place, hook: Handler, grace_seconds: float, tell: Tell) -> None:
        """Run the hook, then send SIGTERM. The grace period counts from now, and who calls ends it with a kill.

        A container whose hook runs already is left to it.
        """

        def run() -> None:
            answer = self._handlers.run(place, hook, grace_seconds)
            if answer.message:
                tell(Note(WARNING, "FailedPreStopHook", f"{name}: the preStop hook {answer.message}"))
            self._engine.stop_container(place.id)

        self._spawn(self._stopping, place.id, run, lambda: None)

    def _spawn(self, busy: set[str], id: str, run: Callable[[], None], done: Callable[[], None]) -> None:
        with self._lock:
            if id in busy:
                return
            busy.add(id)

        def work() -> None:
            try:
                run()
            except EngineError as error:
                log.warning("container %s: %s", id, error)
            except Exception:
                log.exception("container %s: its hook ended in a bug", id)
            finally:
                with self._lock:
                    busy.discard(id)
                done()

        threading.Thread(target=work, name=f"hook-{id[:12]}", daemon=True).start()
