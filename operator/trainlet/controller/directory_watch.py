"""When to look at a directory again: at every hint of its events, and always once in a while, because events get lost.

Knows nothing of what is looked for.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from watchfiles import Change, watch

log = logging.getLogger(__name__)

TICK_MILLISECONDS = 200
DEBOUNCE_MILLISECONDS = 50
#: How often to look where nothing can be watched.
POLL_SECONDS = 1.0


class DirectoryWatch:
    """Calls `look` in a thread of its own; it returns after how many seconds the next look is due at the latest.

    `list_directories` gives those to watch, with their inodes, as the last look found them.
    """

    def __init__(
        self, root: Path, list_directories: Callable[[], Mapping[Path, int]], look: Callable[[], float]
    ) -> None:
        self._root, self._list_directories, self._look = root, list_directories, look
        self._is_polling = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)

    def start(self) -> None:
        """Start to follow."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Stop following."""
        self._stopping.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (OSError, RuntimeError) as error:
                self._note(error)
                self._stopping.wait(POLL_SECONDS)
                self._look()

    def _follow(self) -> None:
        """Look at every hint until the set of directories changes. Raises what watchfiles does when it cannot watch."""
        armed = dict(self._list_directories())
        due = 0.0  # at the first tick, because nobody told what happened before the watch was in place
        for changes in watch(
            *_existing([*armed, self._root.parent]),
            watch_filter=self._is_hint,
            debounce=DEBOUNCE_MILLISECONDS,
            step=1,
            rust_timeout=TICK_MILLISECONDS,
            yield_on_timeout=True,
            stop_event=self._stopping,
            recursive=False,
            raise_interrupt=False,
        ):
            if not changes and time.monotonic() < due:
                continue
            due = self._look() + time.monotonic()
            if self._list_directories() != armed:
                return

    def _is_hint(self, _: Change, path: str) -> bool:
        """Tell whether an event may matter; of the root's parent only the root does, which may come back."""
        place = Path(path)
        is_hidden = place.name.startswith(".") and not place.name.startswith("..")  # a mounted ConfigMap swaps ..data
        return not is_hidden and (place.parent != self._root.parent or place == self._root)

    def _note(self, error: Exception) -> None:
        # A directory that went between listing and watching is no news; the next look knows.
        if not isinstance(error, FileNotFoundError) and not self._is_polling:
            remedy = "raise fs.inotify.max_user_watches and max_user_instances"
            log.warning("cannot watch %s (%s), looking every %.0f s: %s", self._root, error, POLL_SECONDS, remedy)
            self._is_polling = True


def _existing(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]
