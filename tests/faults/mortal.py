"""Runs a program that dies at one point of its life (see deaths.py), then once more for good.

    mortal.py ROOT POINT PROGRAM ARGUMENT...

ROOT is below which its changes of files count; of POINT 0 it does not die. What it came to is told in ROOT/points: how
many points the first life had, and the one that it died at.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import deaths

PR_SET_PDEATHSIG = 1


def main(root: str, last: str, *command: str) -> None:
    """Be a first life's parent, then the second life itself."""
    child = os.fork()
    if not child:
        live(root, int(last), command)
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    os.execv(command[0], command)


def live(root: str, last: int, command: tuple[str, ...]) -> None:
    """Run the program until its last point."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    told = os.open(f"{root}/points", os.O_WRONLY | os.O_CREAT)
    lock, count = threading.Lock(), 0

    def meet(point: str) -> None:
        nonlocal count
        with lock:
            count += 1
            os.pwrite(told, f"{count} {point}\n".encode(), 0)
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()

    sys.argv = list(command)
    deaths.watch(root, meet)
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
