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

#: How often to see what is due without an event, the end too.
TICK_MILLISECONDS = 50
DEBOUNCE_MILLISECONDS = 50
#: How often the watch looks for events that came: half as often takes half of its 0.4 % of a core.
STEP_MILLISECONDS = 12
#: How often to look where nothing can be watched.
POLL_SECONDS = 1.0


#: Looks at what is hinted at, and returns seconds.
Look = Callable[[frozenset[Path] | None], float]


class DirectoryWatch:
    """Calls `look` in a thread of its own; it returns after how many seconds the next look is due at the latest.

    It is told the paths that something is said of, none if it is only time again, and None after whatever could not be
    watched. `list_directories` gives those to watch, with their inodes, as the last look found them.
    """

    def __init__(self, root: Path, list_directories: Callable[[], Mapping[Path, int]], look: Look) -> None:
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
                self._look(None)

    def _follow(self) -> None:
        """Look at every hint until the set of directories changes. Raises what watchfiles does when it cannot watch."""
        armed = dict(self._list_directories())
        due, is_new = 0.0, True
        for changes in watch(
            *_existing([*armed, self._root.parent]),
            watch_filter=self._is_hint,
            debounce=DEBOUNCE_MILLISECONDS,
            step=STEP_MILLISECONDS,
            rust_timeout=TICK_MILLISECONDS,
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
        ):
            if self._stopping.is_set():  # asked here and not by the watch, whose every step that would make dearer
                return
            if not changes and (seconds := due - time.monotonic()) > 0:
                if seconds > TICK_MILLISECONDS / 1000:
                    continue
                time.sleep(seconds)  # the next tick would be late
            # At the first tick at everything, because nobody told what happened before the watch was in place.
            hints = None if is_new else frozenset(Path(path) for _, path in changes)
            due, is_new = self._look(hints) + time.monotonic(), False
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
