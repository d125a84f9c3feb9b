"""Commands run in a container by the calls that Docker and Podman share (`exec`), to their end or a timeout.

Neither API can end a command that it began. Where the engine runs on this machine its process is found and killed here.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Any

from trainlet.engine import explain, wire
from trainlet.engine import process_table as table
from trainlet.engine.base import ExecResult, StartFailed
from trainlet.engine.explain import Refused
from trainlet.engine.http_sessions import Exec
from trainlet.engine.process_command import OUTPUT_BYTES, kill_tree
from trainlet.kube.meta import JSON

#: An engine may tell that a command has ended a moment before it knows how.
_SETTLE_SECONDS = 2.0
_POLL_SECONDS = 0.02
#: How Docker tells of a command that could not be started: in the place of its output, and always with one code.
_NOT_STARTED, _RUNTIMES_WORDS = 126, "OCI runtime exec failed"


class Commands:
    """Runs commands by requests: `stream` sends one and yields what comes back, `closed` ends all waiting."""

    def __init__(self, stream: Callable[..., Iterator[bytes]], answer_seconds: float, closed: Event) -> None:
        self._stream, self._answer_seconds, self._closed = stream, answer_seconds, closed

    def run(
        self, container: str, command: Sequence[str], timeout_seconds: float, is_here: Callable[[], bool]
    ) -> ExecResult:
        """Run a command; `is_here` tells whether the container's processes are this machine's."""
        doing, deadline = describe(container, command), time.monotonic() + timeout_seconds
        session = self.prepare(container, command)
        try:
            output = self._read_output(session, doing, deadline)
        except Refused as refused:
            error = explain.build_start_error(refused)
            if not isinstance(error, StartFailed):
                raise
            return ExecResult(error.exit_code, refused.text)
        found = self._await_end(session, doing, deadline)
        if found["Running"]:
            return ExecResult(None, output, is_left=not (is_here() and _kill(found["Pid"])))
        return ExecResult(_read_code(found["ExitCode"] or 0, output), output)

    def prepare(self, container: str, command: Sequence[str], **more: Any) -> str:
        """Return the id of a command that is not yet started."""
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **more}
        return str(self._fetch("POST", f"containers/{container}/exec", describe(container, command), body)["Id"])

    def control(self, session: str, doing: str, is_here: Callable[[], bool]) -> Exec:
        """Return what may be done with a command that runs."""

        def resize(rows: int, columns: int) -> None:
            size = {"h": str(rows), "w": str(columns)}
            b"".join(self._stream("POST", f"exec/{session}/resize", size, self._answer_seconds, doing=doing))

        return Exec(
            inspect=lambda: self._fetch("GET", f"exec/{session}/json", doing),
            read_code=lambda found, output: _read_code(found["ExitCode"] or 0, output),
            resize=resize,
            kill=lambda found: found["Running"] and is_here() and _kill(found["Pid"]),
        )

    def _read_output(self, session: str, doing: str, deadline: float) -> str:
        """Start the command and return the end of what it writes until its own end or the deadline."""
        silence, tail = max(_POLL_SECONDS, deadline - time.monotonic()), b""
        options: dict[str, Any] = {"body": {"Detach": False, "Tty": False}, "doing": doing}
        try:
            for _, payload in wire.decode_frames(self._stream("POST", f"exec/{session}/start", {}, silence, **options)):
                tail = (tail + payload)[-OUTPUT_BYTES:]
                if time.monotonic() > deadline:
                    break
        except wire.StreamBroken:
            if time.monotonic() < deadline or self._closed.is_set():
                raise
        return tail.decode(errors="replace")

    def _await_end(self, session: str, doing: str, deadline: float) -> JSON:
        """Return what is known of a command that has ended or is late."""
        last = min(deadline, time.monotonic() + _SETTLE_SECONDS)
        while (found := self._fetch("GET", f"exec/{session}/json", doing))["Running"] and time.monotonic() < last:
            self._closed.wait(_POLL_SECONDS)
        return found

    def _fetch(self, method: str, path: str, doing: str, body: JSON | None = None) -> JSON:
        reply = self._stream(method, path, {}, self._answer_seconds, body=body, doing=doing)
        return dict(json.loads(b"".join(reply)))


def describe(container: str, command: Sequence[str]) -> str:
    """Say what is done, for errors."""
    return f"run {command[0]} in container {container[:20]}"


def _kill(pid: int) -> bool:
    """Kill a command with its children; False if it is not found or cannot be killed."""
    process = table.find_process(pid) if pid else None
    return process is not None and process.group == pid and kill_tree(pid, process.start)


def _read_code(code: int, output: str) -> int:
    said = explain.find_start_failure(output) if output.startswith(_RUNTIMES_WORDS) else None
    return said.exit_code if said is not None and code == _NOT_STARTED else code
