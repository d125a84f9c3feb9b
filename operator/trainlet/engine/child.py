"""A child process that serves a unix socket for as long as we live: our own Podman service, or an ssh tunnel.

Knows what a socket is, and nothing of engines.
"""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from trainlet.engine.base import EngineUnavailable

# Our end of the guard's standard input closes however we end, kill -9 included: then it ends the child. (The parent
# death signal would not do: it comes when the thread that started the child ends.)
_GUARD = """
socket=$1; shift
exec 3<&0
"$@" <&- 3<&- & child=$!
( read -r _ <&3; kill "$child" 2>/dev/null; rm -f "$socket" ) & guard=$!
wait "$child"; status=$?
kill "$guard" 2>/dev/null
rm -f "$socket"
exit "$status"
"""
_POLL_SECONDS = 0.02
_END_TIMEOUT_SECONDS = 10.0
_LAST_WORDS_BYTES = 2000
#: A longer path does not fit into a socket's address.
LONGEST_PATH_BYTES = 100


class SocketProcess:
    """Runs a command until `close`, in a session of its own so that a Ctrl-C at our terminal is not its end."""

    def __init__(self, command: Sequence[str], path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self._command = command
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(path), *command],
            stdin=subprocess.PIPE,
            stdout=self._errors,
            stderr=self._errors,
            env=dict(environ),
            start_new_session=True,
        )

    def wait_ready(self, timeout_seconds: float) -> None:
        """Wait until the socket takes connections. Raises EngineUnavailable with the child's last words."""
        deadline = time.monotonic() + timeout_seconds
        while not _takes_connections(self.path):
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = self._read_last_words()
                self.close()
                raise EngineUnavailable(f"`{' '.join(self._command)}` did not come up: {words}")
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End the child and wait for its end."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        self.path.unlink(missing_ok=True)

    def _read_last_words(self) -> str:
        end = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, end - _LAST_WORDS_BYTES))
        return self._errors.read().decode(errors="replace").strip() or "it said nothing"


def _takes_connections(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True
