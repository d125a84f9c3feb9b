"""Asks the sources of a running operator again, in a thread of its own, and hands on what has changed."""

import logging
import threading
from collections.abc import Callable, Sequence

from trainlet.runtime_sources.offers import Asking, Offer, RuntimeSources

log = logging.getLogger(__name__)

#: Between two looks. What is fresh is read from disk, and what could not be had is asked for again.
LOOK_SECONDS = 900.0
_STOP_SECONDS = 1.0


class SourceFollower:
    """Follows sources; `level` is how loud it is to say that one cannot be had."""

    def __init__(
        self, sources: RuntimeSources, take: Callable[[Sequence[Offer]], None], *, level: int, first_seconds: float
    ) -> None:
        self._sources, self._take, self._level, self._first_seconds = sources, take, level, first_seconds
        self._told: dict[str, str] = {}
        self._stopping = threading.Event()
        # A daemon: the network may keep it for longer than anybody waits for the end of the program.
        self._thread = threading.Thread(target=self._run, name="runtime-sources", daemon=True)
        self._known = _get_files(sources.read(Asking.NEVER))

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following, without waiting for a server."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def look(self) -> None:
        """Ask for what is old, once."""
        offers = self._sources.read(Asking.WHEN_OLD)
        for offer in offers:
            self._tell(offer)
        if not self._stopping.is_set() and _get_files(offers) != self._known:
            self._known = _get_files(offers)
            self._take(offers)

    def _run(self) -> None:
        seconds = self._first_seconds
        while not self._stopping.wait(seconds):
            seconds = LOOK_SECONDS
            try:
                self.look()
            except Exception:
                log.exception("a look at the runtime sources ended in a bug of trainlet; the next one follows")

    def _tell(self, offer: Offer) -> None:
        """Say a problem once for as long as it lasts."""
        if bool(offer.problem) != bool(self._told.get(offer.source)):
            level = self._level if offer.problem else logging.INFO
            log.log(level, "runtime source %s: %s", offer.source, offer.problem or "it can be had again")
        self._told[offer.source] = offer.problem


def _get_files(offers: Sequence[Offer]) -> list[object]:
    return [offer.files for offer in offers]
