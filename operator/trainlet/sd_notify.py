"""Tells systemd, or whoever speaks its protocol, how the program is: one datagram a message (sd_notify(3))."""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

READY, STOPPING, WATCHDOG = "READY=1", "STOPPING=1", "WATCHDOG=1"


class Notifier:
    """Talks to the socket that the environment names; without one it does nothing. `clock` gives monotonic seconds."""

    def __init__(self, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._address, self._clock = environ.get("NOTIFY_SOCKET", ""), clock
        self._interval_seconds = _read_interval(environ)
        self._next_beat = 0.0

    def tell(self, *lines: str) -> None:
        """Send a message; nobody who does not listen keeps the program from its work."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.debug("%s was not told %s: %s", self._address, lines[0], error)

    def beat(self, is_alive: Callable[[], bool]) -> None:
        """Send the watchdog's sign of life if it is due and there is life; call it often."""
        if self._interval_seconds and self._clock() >= self._next_beat:
            self._next_beat = self._clock() + self._interval_seconds
            if is_alive():
                self.tell(WATCHDOG)


def _read_interval(environ: Mapping[str, str]) -> float:
    """Return half of what the watchdog waits, in seconds; 0 if it does not watch this process."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    is_meant = pid in ("", str(os.getpid()))
    return int(microseconds) / 2e6 if microseconds.isdigit() and is_meant else 0.0
