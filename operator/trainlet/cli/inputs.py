"""What a command line names with PATH: files, directories or standard input -> their bytes. Knows no YAML."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from trainlet.documents.parse import MAX_BYTES
from trainlet.documents.safe_read import find_readers
from trainlet.documents.scan import find_manifests
from trainlet.kube.errors import UsageError
from trainlet.settings import Settings

STDIN = "-"


@dataclass(frozen=True)
class Input:
    """One file. `name` is as the user wrote it, or `-`; `problem` says why it could not be read.

    `readers` is who but its owner may read it, in words for people.
    """

    name: str
    data: bytes = field(default=b"", repr=False)
    problem: str = ""
    readers: str = ""

    @cached_property
    def path(self) -> Path | None:
        """Where it is, absolute and without links; None for standard input."""
        if self.name == STDIN:
            return None
        path = Path(self.name).absolute()
        return path.resolve() if path.is_symlink() else _resolve(path.parent) / path.name

    def get_line(self, number: int) -> str:
        """Return a line (1-based) of the text, or an empty one."""
        lines = self.data.split(b"\n", max(number, 0))
        line = lines[number - 1] if 0 < number <= len(lines) else b""
        return line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").rstrip("\r")


@lru_cache(maxsize=64)
def _resolve(directory: Path) -> Path:
    """Return a directory's own path; to follow it again for each of its files takes longer than to read them."""
    return directory.resolve()


def read_inputs(paths: Sequence[str], settings: Settings) -> list[Input]:
    """Return the files, each once, those of a directory in the order of their names. Raises UsageError."""
    names = [name for path in paths for name in _list_names(path, settings)]
    inputs = {each.path: each for each in reversed([_read(name) for name in names])}
    return list(inputs.values())[::-1]


def _list_names(path: str, settings: Settings) -> list[str]:
    given = Path(path)
    if path == STDIN or (given.exists() and not given.is_dir()):
        return [path]
    try:
        root = given.resolve(strict=True)
        files = find_manifests(root)
    except OSError as error:
        remedy = "give a file, a directory or -"
        raise UsageError(f"cannot read the path: {error.strerror}", where=path, remedy=remedy) from None
    own = (settings.status_path, settings.workspace_path)
    theirs = [file for file in files if not any(file.is_relative_to(directory) for directory in own)]
    return [str(given / file.relative_to(root)) for file in theirs]


def _read(name: str) -> Input:
    if name == STDIN:
        return Input(name, sys.stdin.buffer.read(MAX_BYTES + 1))
    try:
        with Path(name).open("rb") as file:
            # What is larger is refused.
            return Input(name, file.read(MAX_BYTES + 1), readers=find_readers(os.fstat(file.fileno())))
    except OSError as error:
        return Input(name, problem=error.strerror or str(error))
