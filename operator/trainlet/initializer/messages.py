"""What the program says: errors, warnings, progress. Neither a secret in a URL nor a hostile name gets out raw."""

from __future__ import annotations

import json
import time
from urllib.parse import urlsplit


class FetchError(Exception):
    """A problem outside this program, as one line: `what happened (where): what to do`."""

    def __init__(self, what: str, where: object, remedy: str) -> None:
        super().__init__(" ".join(f"{what} ({where}): {remedy}".split()))


class Progress:
    """Says how far something is, when `seconds` have passed since it last did."""

    def __init__(self, doing: str, seconds: float) -> None:
        self._doing, self._seconds = doing, seconds
        self._next = time.monotonic() + seconds

    def tell(self, done_bytes: int, total_bytes: int | None = None) -> None:
        """Note what is done."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            total = "" if total_bytes is None else f" of {show_bytes(total_bytes)}"
            say(f"{self._doing}: {show_bytes(done_bytes)}{total}")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print a warning."""
    say(f"warning: {text}")


def show_name(name: str) -> str:
    """Write a name such that it cannot break its line."""
    return json.dumps(name)


def show_uri(uri: str) -> str:
    """Write a URI without what may be a secret in it."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return show_name(uri)
    host = parts.netloc.rpartition("@")[2]
    return show_name(f"{parts.scheme}://{host}{parts.path}{'?...' if parts.query else ''}")[1:-1]


def show_bytes(size_bytes: int) -> str:
    """Write a size as people read it."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    size, unit = size_bytes / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if size >= 1024:
            size, unit = size / 1024, larger
    return f"{size:.1f} {unit}"
