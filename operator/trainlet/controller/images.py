"""Images: what is here, what is being pulled, what could not be had. Pulls run beside the reconcile passes."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from trainlet.engine.base import Engine
from trainlet.kube.errors import EngineError
from trainlet.planning.events import NORMAL, WARNING, Note
from trainlet.planning.observed import ImageState, ObservedImage

log = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 300.0
#: How often a pull tells how far it is.
PROGRESS = timedelta(seconds=2)

#: Called with the image and what is new of it.
Tell = Callable[[str, Note], None]


@dataclass
class _Pull:
    """The story of one image; changed only under the keeper's lock."""

    running: bool = False
    message: str = ""
    failures: int = 0
    failed_at: datetime | None = None
    pulled_at: datetime | None = None
    told_at: datetime | None = None


class ImageKeeper:
    """Knows the state of every image that jobs ask for. `tell` is called from a pull's thread when it moved on."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime], tell: Tell) -> None:
        self._engine, self._clock, self._tell = engine, clock, tell
        self._lock = threading.Lock()
        self._pulls: dict[str, _Pull] = {}

    def look(self, images: Iterable[str]) -> dict[str, ObservedImage]:
        """Return the state of these images."""
        return {image: self._look(image) for image in images}

    def start_pull(self, image: str) -> None:
        """Start to pull; an image is pulled once at a time."""
        with self._lock:
            pull = self._pulls.setdefault(image, _Pull())
            if pull.running:
                return
            pull.running, pull.message = True, f'pulling image "{image}"'
        threading.Thread(target=self._pull, args=(image, pull), name=f"pull-{image}", daemon=True).start()

    def _look(self, image: str) -> ObservedImage:
        with self._lock:
            pull = self._pulls.get(image, _Pull())
            if pull.running:
                return ObservedImage(ImageState.PULLING, pull.message)
            message, pulled_at, failed_at, failures = pull.message, pull.pulled_at, pull.failed_at, pull.failures
        if failed_at is not None:
            # It may be here all the same: loaded, built, or pulled before.
            state = ImageState.PRESENT if self._engine.has_image(image) else ImageState.FAILED
            return ObservedImage(state, message, pulled_at, failed_at + _get_backoff(failures))
        state = ImageState.PRESENT if self._engine.has_image(image) else ImageState.ABSENT
        return ObservedImage(state, "", pulled_at)

    def _pull(self, image: str, pull: _Pull) -> None:
        self._tell(image, Note(NORMAL, "Pulling", f'Pulling image "{image}"', image))
        try:
            self._engine.pull_image(image, lambda line, done, total: self._note(image, pull, line, done, total))
        except EngineError as error:
            log.warning("image %s: %s", image, error)
            self._fail(image, pull, error)
        except Exception as error:
            log.exception("image %s: the pull ended in a bug", image)
            self._fail(image, pull, error)
        else:
            with self._lock:
                pull.running, pull.message = False, ""
                pull.failures, pull.failed_at, pull.pulled_at = 0, None, self._clock()
            self._tell(image, Note(NORMAL, "Pulled", f'Successfully pulled image "{image}"'))

    def _fail(self, image: str, pull: _Pull, error: Exception) -> None:
        with self._lock:
            pull.running, pull.message = False, str(error)
            pull.failures, pull.failed_at = pull.failures + 1, self._clock()
        self._tell(image, Note(WARNING, "Failed", f'Failed to pull image "{image}": {error}'))

    def _note(self, image: str, pull: _Pull, line: str, done: int | None, total: int | None) -> None:
        amount = f" {done >> 20} of {total >> 20} MB" if done is not None and total else ""
        now = self._clock()
        with self._lock:
            pull.message = f'pulling image "{image}": {line}{amount}'
            if pull.told_at is not None and now < pull.told_at + PROGRESS:
                return
            pull.told_at = now
        self._tell(image, Note(NORMAL, "Pulling", f'Pulling image "{image}": {line}{amount}', image))


def _get_backoff(failures: int) -> timedelta:
    return timedelta(seconds=min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** max(0, failures - 1)))
