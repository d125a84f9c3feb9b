"""Images: what is here, what is being pulled, what could not be had. Pulls run beside the reconcile passes."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trainlet.controller.metrics import IMAGE_PULLS, IMAGES_PULLING
from trainlet.engine.base import Engine, PullFailed
from trainlet.kube.errors import EngineError
from trainlet.planning.events import NORMAL, WARNING, Note
from trainlet.planning.observed import ImageFacts, ImageState, ObservedImage
from trainlet.planning.pull_secrets import Login
from trainlet.planning.pulls import explain_architecture

log = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 300.0
#: How often a pull tells how far it is.
PROGRESS = timedelta(seconds=2)
#: How long an image that was here is taken to be here still: for the passes of one start, and for jobs started at once.
FRESH = timedelta(seconds=2)
#: Pulls at once, if settings say nothing else; more only share the same line.
PULLS_AT_ONCE = 3


@dataclass(frozen=True)
class Want:
    """An image, and what a job's own secrets have to log in with: what fails for one job need not for another."""

    image: str
    logins: tuple[Login, ...] = ()


#: Called with what is wanted and what is new of it.
Tell = Callable[[Want, Note], None]


@dataclass
class _Pull:
    """The story of one want; changed only under the keeper's lock. `progress` is what was last heard."""

    running: bool = False
    message: str = ""
    progress: tuple[str, int | None] | None = None
    moved_at: datetime | None = None
    failures: int = 0
    failed_at: datetime | None = None
    pulled_at: datetime | None = None
    told_at: datetime | None = None


class ImageKeeper:
    """Knows the state of every image that jobs ask for. `tell` is called from a pull's thread when it moved on.

    `find_logins` gives the user's own logins for an image, which are tried after a job's.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        tell: Tell,
        find_logins: Callable[[str], Sequence[Login]] = lambda _: (),
        at_once: int = PULLS_AT_ONCE,
    ) -> None:
        self._engine, self._clock, self._tell, self._find_logins = engine, clock, tell, find_logins
        self._lock, self._free = threading.Lock(), threading.Semaphore(at_once)
        self._pulls: dict[Want, _Pull] = {}
        self._seen: dict[str, tuple[datetime, ImageFacts]] = {}
        self._judged: set[tuple[Want, str]] = set()
        self._machine: str | None = None

    def look(self, images: Mapping[str, tuple[Login, ...]]) -> dict[str, ObservedImage]:
        """Return the state of these images; `images` holds the job's own logins for each."""
        return {image: self._look(Want(image, logins)) for image, logins in images.items()}

    def start_pull(self, image: str, logins: tuple[Login, ...] = ()) -> None:
        """Start to pull, or line up for it; what is wanted is pulled once at a time."""
        want = Want(image, logins)
        with self._lock:
            pull = self._pulls.setdefault(want, _Pull())
            if pull.running:
                return
            is_free = self._free.acquire(blocking=False)
            pull.running, pull.progress, pull.moved_at = True, None, None
            pull.message = _describe(image, "" if is_free else "waiting for a free download")
        args = (want, pull, is_free)
        threading.Thread(target=self._take_turn, args=args, name=f"pull-{image}", daemon=True).start()

    def _look(self, want: Want) -> ObservedImage:
        with self._lock:
            pull = self._pulls.get(want, _Pull())
            message, retry_at = pull.message, None
            if pull.running:
                return ObservedImage(ImageState.PULLING, message, moved_at=pull.moved_at, logins=want.logins)
            if pull.failed_at is not None:
                retry_at = pull.failed_at + _get_backoff(pull.failures)
            pulled_at = pull.pulled_at
        # After a failure it may be here all the same: loaded, built, or pulled before.
        facts = self._find(want.image)
        problem = self._judge(want, facts) if facts is not None else ""
        absent = ImageState.ABSENT if retry_at is None else ImageState.FAILED
        state = ImageState.PRESENT if facts is not None else absent
        return ObservedImage(state, message, pulled_at, retry_at, facts=facts, problem=problem, logins=want.logins)

    def _find(self, image: str) -> ImageFacts | None:
        seen_at, facts = self._seen.get(image, (None, None))
        if seen_at is not None and seen_at <= self._clock() < seen_at + FRESH:
            return facts
        facts = self._engine.find_image(image)
        if facts is None:
            self._seen.pop(image, None)
        else:
            self._seen[image] = (self._clock(), facts)
        return facts

    def _judge(self, want: Want, facts: ImageFacts) -> str:
        """Return what is wrong with an image that is made for other machines, and tell it once."""
        if not facts.architecture:
            return ""
        if self._machine is None:
            self._machine = self._engine.find_facts().architecture
        problem = explain_architecture(want.image, facts, self._machine)
        if problem and (want, facts.id) not in self._judged:
            self._judged.add((want, facts.id))
            self._tell(want, Note(WARNING, "ImageArchitecture", problem))
        return problem

    def _take_turn(self, want: Want, pull: _Pull, is_free: bool) -> None:
        if not is_free:
            self._tell(want, Note(NORMAL, "Pulling", f"P{pull.message[1:]}", want.image))
            self._free.acquire()
            with self._lock:
                pull.message = _describe(want.image)
        IMAGES_PULLING.add()
        try:
            self._pull(want, pull)
        finally:
            IMAGES_PULLING.add(amount=-1)
            self._free.release()

    def _pull(self, want: Want, pull: _Pull) -> None:
        image = want.image
        self._tell(want, Note(NORMAL, "Pulling", f'Pulling image "{image}"', image))
        try:
            self._try_logins(want, pull)
        except EngineError as error:
            log.warning("image %s: %s", image, error, extra={"image": image})
            self._fail(want, pull, error)
        except Exception as error:
            log.exception("image %s: the pull ended in a bug", image, extra={"image": image})
            self._fail(want, pull, error)
        else:
            with self._lock:
                pull.running, pull.message = False, ""
                pull.failures, pull.failed_at, pull.pulled_at = 0, None, self._clock()
            self._seen.pop(image, None)
            IMAGE_PULLS.add("success")
            self._tell(want, Note(NORMAL, "Pulled", f'Successfully pulled image "{image}"'))

    def _try_logins(self, want: Want, pull: _Pull) -> None:
        """Pull with each login until one is good, as kubelets do; as nobody only where there is none.

        Raises EngineError: of several refusals the first, which is of the login that fits best.
        """
        refusals: list[PullFailed] = []
        for login in dict.fromkeys((*want.logins, *self._find_logins(want.image))) or (None,):
            try:
                return self._engine.pull_image(want.image, lambda *step: self._note(want, pull, *step), login)
            except PullFailed as refusal:
                refusals.append(refusal)
        raise refusals[0]

    def _fail(self, want: Want, pull: _Pull, error: Exception) -> None:
        IMAGE_PULLS.add("error")
        with self._lock:
            pull.running, pull.message = False, str(error)
            pull.failures, pull.failed_at = pull.failures + 1, self._clock()
        self._tell(want, Note(WARNING, "Failed", f'Failed to pull image "{want.image}": {error}'))

    def _note(self, want: Want, pull: _Pull, line: str, done: int | None, total: int | None) -> None:
        amount = f", {done >> 20} of {total >> 20} MB" if done is not None and total else ""
        now = self._clock()
        with self._lock:
            pull.message = message = _describe(want.image, f"{line}{amount}")
            if done is not None and pull.progress != (line, done):
                pull.progress, pull.moved_at = (line, done), now
            if pull.told_at is not None and now < pull.told_at + PROGRESS:
                return
            pull.told_at = now
        self._tell(want, Note(NORMAL, "Pulling", f"P{message[1:]}", want.image))


def _describe(image: str, progress: str = "") -> str:
    return f'pulling image "{image}"' + (f": {progress}" if progress else "")


def _get_backoff(failures: int) -> timedelta:
    return timedelta(seconds=min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** max(0, failures - 1)))
