"""Connections that begin within a container's own network, where a rootless engine leaves this machine no route to it.

A small program enters the container's namespaces, connects there and hands the connection back. It may do so for root,
and for the user whose engine it is.
"""

import socket
import subprocess
import sys
from contextlib import closing

from trainlet.engine.base import OutOfReach

_PROGRAM = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as asker:
    try:
        with socket.create_connection((sys.argv[2], int(sys.argv[3])), float(sys.argv[4])) as made:
            socket.send_fds(asker, [b"0"], [made.fileno()])
    except OSError as error:
        asker.send(str(error.errno or 0).encode())
"""
_ENTER = ("nsenter", "--user", "--net", "--preserve-credentials", "--target")
#: What the program itself takes.
_START_SECONDS = 5.0
_REMEDY = "run trainlet as the engine's user or as root, and install nsenter (util-linux)"


def connect(pid: int, address: str, port: int, timeout_seconds: float) -> socket.socket:
    """Connect as from within the network of this process. Raises OSError where nobody answers, OutOfReach."""
    asker, program = socket.socketpair()
    with closing(asker):
        with closing(program):
            complaint = _run(pid, [str(program.fileno()), address, str(port), str(timeout_seconds)], program.fileno())
        answer, descriptors, _, _ = socket.recv_fds(asker, 16, 1)
    if descriptors:
        made = socket.socket(fileno=descriptors[0])
        made.settimeout(timeout_seconds)
        return made
    if not answer:
        raise OutOfReach(f"the container's network cannot be entered: {complaint}", remedy=_REMEDY)
    if answer == b"0":
        raise TimeoutError("timed out")
    raise OSError(int(answer), "cannot connect")


def _run(pid: int, arguments: list[str], descriptor: int) -> str:
    """Run the program to its end, and return what it or nsenter complained of. Raises TimeoutError."""
    command = [*_ENTER, str(pid), "--", sys.executable, "-I", "-S", "-c", _PROGRAM, *arguments]
    seconds = float(arguments[-1]) + _START_SECONDS
    try:
        done = subprocess.run(
            command, pass_fds=[descriptor], stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        raise TimeoutError("timed out") from None
    return done.stderr.decode(errors="replace").strip()
