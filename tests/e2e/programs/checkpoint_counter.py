"""Counts steps in a file and goes on from there when it is started again; runs inside the Python test image.

CHECKPOINTS is the directory of the file, STEPS how far to count. EXITS are the exit codes of the first starts that
reach the last step; the ones after them end well. HOLD_AT is a step at which to wait for /workspace/go, or for
/workspace/go-RANK. Prints where it starts, where it waits and where it ends.
"""

import os
import sys
import time
from pathlib import Path

RANK = os.environ["JOB_COMPLETION_INDEX"]
DIRECTORY = Path(os.environ.get("CHECKPOINTS", "/workspace"))
STEPS = int(os.environ.get("STEPS", "10"))
EXITS = [int(code) for code in os.environ.get("EXITS", "").split()]
HOLD_AT = int(os.environ.get("HOLD_AT", "-1"))
GO = (Path("/workspace/go"), Path(f"/workspace/go-{RANK}"))


def read_number(name: str) -> int:
    """Return what a file of this rank holds; one that is not there holds 0."""
    path = DIRECTORY / f"{name}-{RANK}"
    return int(path.read_text()) if path.exists() else 0


def write_number(name: str, number: int) -> None:
    """Replace a file of this rank in one step, for whoever is ended in between."""
    temporary = DIRECTORY / f".{name}-{RANK}"
    temporary.write_text(str(number))
    temporary.replace(DIRECTORY / f"{name}-{RANK}")


def count() -> None:
    """Count from the last step that was written."""
    for step in range(read_number("step"), STEPS):
        if step == HOLD_AT:
            print(f"rank {RANK} holds at {step}", flush=True)
            while not any(path.exists() for path in GO):
                time.sleep(0.05)
        write_number("step", step + 1)


def main() -> None:
    """Make one start."""
    starts = read_number("starts")
    write_number("starts", starts + 1)
    print(f"rank {RANK} start {starts + 1} from {read_number('step')}", flush=True)
    count()
    print(f"rank {RANK} at {read_number('step')}", flush=True)
    if starts < len(EXITS):
        sys.exit(EXITS[starts])


if __name__ == "__main__":
    main()
