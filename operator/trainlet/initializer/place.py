"""TARGET: filled beside itself, moved to its place when it is whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .content import MARKER
from .files import read_json, sync_directory, write_json
from .messages import FetchError


class Place:
    """TARGET and `work`, the directory beside it in which it is made ready.

    Where TARGET is the root of a file system of its own nothing beside it can be moved there: then `work` is in it,
    and the file `moving` says that all the rest is ours.
    """

    def __init__(self, target: Path) -> None:
        self.target = Path(os.path.abspath(target))  # noqa: PTH100  resolve() would follow a link in its last place
        self._is_mount = os.path.ismount(self.target)
        self.work = (self.target if self._is_mount else self.target.parent) / f".{self.target.name}.fetch"
        self.content = self.work / "content"
        self._moving = self.work / "moving"

    def find_digest(self, key: str) -> str | None:
        """Return the digest of what TARGET holds, if that was fetched under this key and is whole."""
        marker = {} if self._moving.exists() else read_json(self.target / MARKER)
        return str(marker.get("digest")) if marker.get("key") == key else None

    def prepare(self) -> None:
        """Begin anew with an empty `content`. Raises FetchError if somebody else's files are in TARGET."""
        remedy = "move it away, or fetch into another directory"
        if self.target.is_symlink() or (self.target.exists() and not self.target.is_dir()):
            raise FetchError("the target is no directory", self.target, remedy)
        if self._list() and not (self.target / MARKER).exists() and not self._moving.exists():
            raise FetchError("the target holds files that were not fetched", self.target, remedy)
        for left in (self.content, self.work / "old"):
            shutil.rmtree(left, ignore_errors=True)
        self.content.mkdir(parents=True)

    def publish(self, marker: dict[str, str]) -> None:
        """Give TARGET its content, and the marker last."""
        write_json(self.content / MARKER, marker)
        os.sync()  # once for all: to sync a million files one by one would take hours
        if self._is_mount:
            self._move_each()
        else:
            if self._list():
                self.target.rename(self.work / "old")
            self.content.rename(self.target)
        sync_directory(self.work.parent)

    def abandon(self) -> None:
        """Remove what was made ready; a download stays for the next try."""
        shutil.rmtree(self.content, ignore_errors=True)

    def clean(self) -> None:
        """Remove all that was beside TARGET."""
        shutil.rmtree(self.work, ignore_errors=True)

    def _move_each(self) -> None:
        self._moving.touch()
        for path in self._list():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        for path in sorted(self.content.iterdir(), key=lambda path: path.name == MARKER):
            path.rename(self.target / path.name)

    def _list(self) -> list[Path]:
        return [path for path in self.target.iterdir() if path != self.work] if self.target.is_dir() else []
