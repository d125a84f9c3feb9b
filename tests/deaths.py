"""The points of a program's life at which it may die: before each call of its engine and each change of its files.

CPython tells its audit hooks of both before they happen, so nothing in the program knows of this. To die after a change
is to die before the next one. Changes that leave no more than an empty directory or other permissions are left out.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

#: Called with each point; what it raises ends what was about to happen.
Meet = Callable[[str], None]
CALL = "trainlet.test.call"
_WRITING = os.O_WRONLY | os.O_RDWR


class _Hook:
    """The one hook of this process: hooks stay for its life."""

    def __init__(self) -> None:
        self.root, self.meet, self.is_added = "", None, False
        self.meet: Meet | None

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.meet is None or event not in _DESCRIPTIONS:
            return
        point = _DESCRIPTIONS[event](self.root, *arguments)
        if point:
            self.meet(f"{event.rpartition('.')[2]} {point}")


def watch(root: str, meet: Meet | None) -> None:
    """Have `meet` called with every point on files below `root`, and on the engine; None ends it."""
    if not _HOOK.is_added:
        sys.addaudithook(_HOOK)
        _HOOK.is_added = True
    _HOOK.root, _HOOK.meet = f"{root}/", meet


def _describe_open(root: str, path: Any, mode: Any, flags: int) -> str:  # noqa: ARG001 - CPython's arguments
    return _shorten(root, path) if flags & _WRITING else ""


def _describe_change(root: str, path: Any, *_: Any) -> str:
    return _shorten(root, path)


def _describe_move(root: str, source: Any, target: Any, *_: Any) -> str:  # noqa: ARG001 - CPython's arguments
    return _shorten(root, target)


def _describe_send(_: str, connection: Any, data: Any) -> str:  # noqa: ARG001 - CPython's arguments
    """Return a request's first line; what follows in further pieces is no point of its own."""
    line = bytes(data).partition(b"\r\n")[0] if isinstance(data, bytes) else b""
    return line.decode(errors="replace").removesuffix(" HTTP/1.1") if line.endswith(b" HTTP/1.1") else ""


def _shorten(root: str, path: Any) -> str:
    """Return a path as it is below the root; nothing for others. One that is relative is of a tree being removed."""
    if not isinstance(path, str | bytes | os.PathLike):
        return ""
    text = os.fsdecode(path)
    if not text.startswith("/"):
        return text
    return text.removeprefix(root) if text.startswith(root) else ""


_DESCRIPTIONS: dict[str, Callable[..., str]] = {
    CALL: lambda _, verb: verb,
    "http.client.send": _describe_send,
    "open": _describe_open,
    "os.remove": _describe_change,
    "os.rename": _describe_move,
    "os.rmdir": _describe_change,
}
_HOOK = _Hook()
