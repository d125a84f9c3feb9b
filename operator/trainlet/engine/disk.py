"""What files take on this machine's disk."""

import os
from contextlib import suppress
from pathlib import Path

_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are


def measure(directory: Path) -> int | None:
    """Return the bytes that the files below a directory take, each file once; None if it cannot be read.

    Parts that cannot be read are left out, as are other file systems' and what links lead to.
    """
    try:
        device, waiting = directory.stat().st_dev, [os.scandir(directory)]
    except OSError:
        return None
    taken, linked = 0, set[int]()
    while waiting:
        with waiting.pop() as entries:
            for entry in entries:
                with suppress(OSError):  # it went meanwhile, or is nobody else's to see
                    status = entry.stat(follow_symlinks=False)
                    if status.st_dev != device or status.st_ino in linked:
                        continue
                    if status.st_nlink > 1:
                        linked.add(status.st_ino)
                    taken += status.st_blocks * _BLOCK_BYTES
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(os.scandir(entry))
    return taken
