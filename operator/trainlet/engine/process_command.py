"""One command run to its end or its timeout, as the process engine runs it beside a node's own.

It knows nothing of nodes: whose a process is says the mark in the environment that it is given.
"""

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence

from trainlet.engine import process_table as table
from trainlet.engine.base import ExecResult
from trainlet.engine.process_supervisor import START_FAILURES

#: How much of what a command wrote is kept.
OUTPUT_BYTES = 4096
#: How long killed processes may take to die.
KILL_TIMEOUT_SECONDS = 2.0
_READ_BYTES = 65536
_POLL_SECONDS = 0.01


def run_command(argv: Sequence[str], env: Mapping[str, str], working_dir: str, timeout_seconds: float) -> ExecResult:
    """Run a command in a session of its own; at the timeout it is killed with its children."""
    deadline = time.monotonic() + timeout_seconds
    try:
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=working_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        exit_code, what = START_FAILURES.get(error.errno or 0, (126, error.strerror))
        return ExecResult(exit_code, f"{error.filename or argv[0]}: {what}")
    with process:
        output = _read_output(process, deadline)
        if process.poll() is not None:
            return ExecResult(read_end(process.returncode), output)
        leader = table.find_process(process.pid)
        is_left = not kill_tree(process.pid, leader.start if leader else "")
        process.kill()
    return ExecResult(None, output, is_left)


def read_end(code: int) -> int:
    """Return the exit code, 128+N for signal N."""
    return code if code >= 0 else 128 - code


def kill_tree(pid: int, start: str) -> bool:
    """Kill a process that leads its group, the group and all their children; False if some do not die."""
    return table.kill_members(pid, start, "", KILL_TIMEOUT_SECONDS)


def _read_output(process: "subprocess.Popen[bytes]", deadline: float) -> str:
    """Read until the process has ended, whoever else may still write, or until the deadline."""
    assert process.stdout is not None
    pipe, tail, poll = process.stdout.fileno(), b"", select.poll()
    poll.register(pipe, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        has_ended = process.poll() is not None
        if poll.poll(0 if has_ended else min(_POLL_SECONDS, left) * 1000):
            data = os.read(pipe, _READ_BYTES)
            tail = (tail + data)[-OUTPUT_BYTES:]
            if not data:
                poll.unregister(pipe)
        elif has_ended:
            break
    return tail.decode(errors="replace")
