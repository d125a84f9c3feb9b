"""The files that become TARGET. Everything is written through here, so that no name leads out of it."""

from __future__ import annotations

import os
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from .files import BLOCK_BYTES
from .messages import FetchError, Progress, show_bytes, show_name, warn

#: Lies in a directory that was filled, and says with what.
MARKER = ".trainlet-source"
#: What an entry counts beside its bytes, so that empty ones are not free.
_ENTRY_BYTES = 1 << 10


class Content:
    """A directory that is being filled; `ignore` are globs, joined by commas, of files that are not wanted.

    `*` in a glob stands for slashes, too (huggingface_hub, which upstream's initializers leave it to).
    """

    def __init__(self, root: Path, ignore: str, limit_bytes: int, progress_seconds: float) -> None:
        self.files, self.written_bytes, self.limit_bytes = 0, 0, limit_bytes
        self._root, self._counted_bytes = root, 0
        patterns = filter(None, (pattern.strip() for pattern in ignore.split(",")))
        self._ignored = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in patterns]
        self._links: list[tuple[Path, str, str]] = []
        self._progress = Progress("written", progress_seconds)

    def add_file(self, name: str, stream: IO[bytes], *, executable: bool = False) -> None:
        """Write one file; of two with one name the later stays. Raises FetchError, OSError."""
        self._count(_ENTRY_BYTES)
        place = self._find_place(name)
        if place is None:
            return
        _clear(place)
        with place.open("xb") as file:
            for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
                self._count(len(block))
                file.write(block)
                self.written_bytes += len(block)
                self._progress.tell(self.written_bytes)
        place.chmod(0o755 if executable else 0o644)
        self.files += 1

    def add_directory(self, name: str) -> None:
        """Make a directory."""
        self._count(_ENTRY_BYTES)
        place = self._find_place(name)
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)

    def add_copy(self, name: str, of: str, *, executable: bool = False) -> None:
        """Write once more a file that is there: what an archive calls a hard link."""
        if self._find_place(name) is None:
            return
        place = self._find_place(of)
        if place is None or not place.is_file():
            raise refuse(name, f"is a link to {show_name(of)}, which is not there")
        if place != self._find_place(name):
            with place.open("rb") as stream:
                self.add_file(name, stream, executable=executable)

    def add_link(self, name: str, text: str) -> None:
        """Remember a symbolic link; it is made when nothing can be written through it any more."""
        self._count(_ENTRY_BYTES)
        place = self._find_place(name)
        if place is None:
            return
        leads_to = os.path.normpath(os.path.join(os.path.dirname(name), text))  # noqa: PTH118, PTH120  texts
        if text.startswith("/") or "\0" in text or leads_to.split("/")[0] in ("", ".."):
            raise refuse(name, f"is a link that leads out, to {show_name(text)}")
        self._links.append((place, name, text))

    def finish(self) -> None:
        """Make the links. Raises FetchError for one that leads out by way of others."""
        for place, name, text in self._links:
            above = place.relative_to(self._root).parents
            if any((self._root / part).is_symlink() for part in above):
                raise refuse(name, "lies behind a link")
            if place.is_dir() and not place.is_symlink():
                raise refuse(name, "is a link and a directory")
            _clear(place)
            place.symlink_to(text)
        for place, name, _ in self._links:
            try:
                real = place.resolve(strict=True)
            except (OSError, RuntimeError):
                warn(f"{show_name(name)} was left out: it is a link that leads nowhere")
                place.unlink()
                continue
            if self._root.resolve() not in (real, *real.parents):
                raise refuse(name, "is a link that leads out")

    def _find_place(self, name: str) -> Path | None:
        """Return where a name goes, None where it is not wanted."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise refuse(name, "leads out of the target")
        inner = "/".join(parts)
        if inner in ("", MARKER) or any(fnmatchcase(inner, pattern) for pattern in self._ignored):
            return None
        return self._root.joinpath(*parts)

    def _count(self, size_bytes: int) -> None:
        self._counted_bytes += size_bytes
        if self._counted_bytes > self.limit_bytes:
            what = "unpacked, the source is larger than is taken of one of its size"
            raise FetchError(
                what, f"more than {show_bytes(self.limit_bytes)}", "see what is in it, or give it unpacked"
            )


def refuse(name: str, why: str) -> FetchError:
    """Return the error for a name that nobody should have put into a source."""
    return FetchError(f"an entry of the source {why}", show_name(name), "do not trust the source, or pack it without")


def _clear(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        place.unlink()
