"""What the operating system says of processes: who is alive, who belongs to a node, and killing all of them.

A pid alone names nobody, because pids are used again; a pid with its start time does. Linux is asked through
/proc, other systems through `ps`. Shared by the engine and the supervisor: standard library only, quick to import.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

#: The variable that marks all processes of a node, also those that left its process group (torchrun's workers do).
MARKER = "TRAINLET_NODE"

_HAS_PROC = os.path.exists("/proc/self/stat")  # noqa: PTH110
_PS = ("ps", "-A", "-o", "pid=,ppid=,pgid=,stat=,lstart=")


class Process(NamedTuple):
    """One row of the process table. `start` differs for two processes that had the same pid one after the other."""

    pid: int
    parent: int
    group: int
    state: str
    start: str

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; a zombie only waits to be counted."""
        return self.state not in ("Z", "X")


def find_process(pid: int) -> Process | None:
    """Return the process with this pid, if any, be it alive or a zombie."""
    return _read_stat(pid) if _HAS_PROC else next((row for row in read_ps() if row.pid == pid), None)


def is_same_process(pid: int, start: str) -> bool:
    """Tell whether the process that had this pid and start time still lives."""
    process = find_process(pid)
    return process is not None and process.is_alive and process.start == start


def seems_alive(pid: int) -> bool:
    """Tell cheaply whether some process has this pid; where a look costs much, a zombie passes for one."""
    if _HAS_PROC:
        process = _read_stat(pid)
        return process is not None and process.is_alive
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # gone, or its number is now another user's
        return False
    return True


def find_members(leader: int, leader_start: str, node: str) -> list[int]:
    """Return the living processes of a node: its leader's group, all that carry its mark, and their descendants."""
    rows = list(read_proc() if _HAS_PROC else read_ps())
    # A leader that is not ours means that the number was given away, and its group with it. While any
    # process of our group lives, the system does not give the number away.
    is_ours = all(row.start == leader_start for row in rows if row.pid == leader)
    members = {row.pid for row in rows if (row.group == leader and is_ours) or _has_mark(row.pid, node)}
    while children := {row.pid for row in rows if row.parent in members} - members:
        members |= children
    return [row.pid for row in rows if row.pid in members and row.is_alive and row.pid != os.getpid()]


def kill_members(leader: int, leader_start: str, node: str, timeout_seconds: float) -> bool:
    """Kill all processes of a node, again and again until none is left; False if some outlive the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while members := find_members(leader, leader_start, node):
        if time.monotonic() > deadline:
            return False
        for pid in members:
            send_signal(pid, signal.SIGKILL)
        time.sleep(0.01)
    return True


def send_signal(pid: int, number: int) -> None:
    """Send a signal; a process that is gone, or became another user's, is left alone."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def read_proc() -> Iterator[Process]:
    """Yield all processes as /proc lists them."""
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and (process := _read_stat(int(name))):
            yield process


def read_ps() -> Iterator[Process]:
    """Yield all processes as `ps` lists them, on systems without /proc."""
    import subprocess  # only here: it would double the supervisor's start time on Linux

    output = subprocess.run(_PS, capture_output=True, check=True, timeout=30, env={**os.environ, "LC_ALL": "C"})
    for line in output.stdout.decode(errors="replace").splitlines():
        pid, parent, group, state, start = line.split(None, 4)
        yield Process(int(pid), int(parent), int(group), state[0], start.strip())


def _read_stat(pid: int) -> Process | None:
    data = _read_bytes(f"/proc/{pid}/stat")
    if not data:
        return None
    # The second field, the program's name, may hold spaces and parentheses; what follows the last one does not.
    fields = data[data.rindex(b")") + 2 :].decode().split()
    return Process(pid, int(fields[1]), int(fields[2]), fields[0], f"{_boot_id()}/{fields[19]}")


@cache
def _boot_id() -> str:
    # Linux counts start times from boot, so they mean something only together with the boot.
    return _read_bytes("/proc/sys/kernel/random/boot_id").decode().strip()


def _has_mark(pid: int, node: str) -> bool:
    mark = f"\0{MARKER}={node}\0".encode()
    return _HAS_PROC and mark in b"\0" + _read_bytes(f"/proc/{pid}/environ")


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:  # gone, or not ours to read
        return b""
