"""Directories that are there as a whole or not at all, whenever a program dies. The caller holds the lock."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def making(directory: Path) -> Iterator[Path | None]:
    """Give an empty directory that gets its name when the block has ended well; None if the name is taken."""
    if directory.exists():
        yield None
        return
    # Whatever begins with a dot was left by a program that died here, as the lock is ours.
    for leftover in directory.parent.glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)
    new = directory.parent / ".new"
    new.mkdir()
    yield new
    new.rename(directory)


def remove(directory: Path) -> None:
    """Remove a directory; what cannot be deleted of it loses its name all the same."""
    gone = directory.with_name(f".{uuid.uuid4().hex}")
    directory.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
