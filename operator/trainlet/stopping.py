"""How the program is told to end, and how long that may take. Containers run on in any case.

The first signal asks for an orderly end, a second one ends at once. What does not end by itself, because an engine or
a disk hangs, is left when the time is over: all that is written down is written so that a crash may come.
"""

import os
import signal
import threading
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """Raised in the main thread by the first signal, as long as the program is only starting."""


class StopSignals:
    """While it is entered SIGTERM and SIGINT set `asked`; until `started` they raise Stopped as well.

    Once asked, the process ends `seconds` later at the latest, with status 0, wherever its threads are.
    """

    def __init__(self, seconds: float) -> None:
        self.asked = threading.Event()
        self._seconds, self._is_starting = seconds, True

    def __enter__(self) -> "StopSignals":
        self._previous = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        if not self.asked.is_set():  # else the rest of the program's end is under the same rules
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def started(self) -> None:
        """Let signals no longer break into what the main thread does. Raises Stopped if there was one."""
        self._is_starting = False
        if self.asked.is_set():
            raise Stopped

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.asked.is_set():
            os._exit(128 + number)
        self.asked.set()
        signal.signal(signal.SIGALRM, _leave)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        if self._is_starting:
            raise Stopped


def _leave(*_: object) -> NoReturn:
    os._exit(0)
