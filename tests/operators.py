"""Operators as processes of their own, made by a process that has loaded the program already.

To load it takes a second of one processor, and end-to-end tests start hundreds of operators. What they do from then on
is what `trainlet` does; that its command starts is seen where a test gives a `prefix`, and wherever it is typed.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["trainlet.cli.run", "trainlet.manager", "trainlet.engine.docker", "trainlet.engine.podman"]
)


class Operator:
    """A running `trainlet`, as `subprocess.Popen` would have it."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        log.touch()
        self._process = _CONTEXT.Process(target=_run, args=(list(arguments), dict(environ), log))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status when it has ended. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("trainlet", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self.send_signal(signal.SIGKILL)


def _run(arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
    from trainlet.cli.main import main

    os.setsid()
    os.environ.clear()
    os.environ.update(environ)
    for target, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        (2, str(log), os.O_WRONLY | os.O_APPEND),
    ):
        source = os.open(path, flags, 0o644)
        os.dup2(source, target)
        os.close(source)
    sys.exit(main(arguments))
