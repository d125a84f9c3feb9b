"""What checks look at and what they find. Everything of the machine comes through here, so that a tree of files can
stand for one.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trainlet.engine.base import Engine
from trainlet.engine.detect import Surroundings
from trainlet.engine.probe import Attempt
from trainlet.settings import Settings

#: Where engines that root runs have their sockets, and where those of the user with this number do.
_ROOTS_SOCKET = re.compile(r"unix://(/var)?/run/(docker|podman/podman)\.sock")
_USERS_SOCKET = re.compile(r"unix:///run/user/(\d+)/.*")


class Level(StrEnum):
    """How bad it is: FAIL keeps jobs from running, WARN may."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    level: Level
    message: str
    remedy: str = ""


def read_free_bytes(path: Path) -> int:
    """Return how many bytes a user may still write where this path is."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


@dataclass(frozen=True)
class Machine:
    """This machine, its engine (None if none answers, then `complaint` says why) and the operator's settings.

    `attempts` is what came of asking every place where an engine may be.
    """

    settings: Settings
    around: Surroundings
    attempts: Sequence[Attempt] = ()
    engine: Engine | None = None
    complaint: str = ""
    get_free_bytes: Callable[[Path], int] = read_free_bytes

    @property
    def runtime(self) -> str:
        """The engine's name, or an empty text."""
        return self.engine.name if self.engine else ""

    @property
    def is_remote(self) -> bool:
        """Whether the engine is on another machine, so that this one's kernel says nothing about it."""
        return self.engine is not None and not self.engine.endpoint.startswith(("unix:", "file:"))

    @property
    def runs_containers_here(self) -> bool:
        """Whether containers run, or would run, on this machine's own kernel."""
        is_linux = self.around.system == "Linux"
        return is_linux and not self.is_remote and "process" not in (self.runtime, self.settings.container_runtime)

    @property
    def engine_uid(self) -> int:
        """The user who runs the engine, or would."""
        endpoint = self.engine.endpoint if self.engine else ""
        if _ROOTS_SOCKET.fullmatch(endpoint):
            return 0
        owner = _USERS_SOCKET.fullmatch(endpoint)
        return int(owner[1]) if owner else self.around.uid

    @property
    def is_rootless(self) -> bool:
        """Whether the containers belong, or would belong, to a user who is not root."""
        return self.runs_containers_here and self.engine_uid != 0

    def path(self, path: str) -> Path:
        """Return where an absolute path of this machine is."""
        return self.around.root / path.lstrip("/")

    def read(self, path: str) -> str:
        """Return the text of a file, or an empty one if it cannot be read."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def read_number(self, path: str) -> int | None:
        """Return the number in a file of the kernel's, or None."""
        text = self.read(path)
        return int(text) if text.isdigit() else None

    def find(self, pattern: str) -> Iterator[Path]:
        """Yield the files that an absolute pattern names."""
        yield from sorted(self.around.root.glob(pattern.lstrip("/")))

    def find_program(self, *names: str) -> str | None:
        """Return the path of the first of these programs that is there."""
        search = self.around.environ.get("PATH", os.defpath)
        return next((found for name in names if (found := shutil.which(name, path=search))), None)


def ok(message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, message)


def warn(message: str, remedy: str) -> Finding:
    """Return a finding of what may become a problem."""
    return Finding(Level.WARN, message, remedy)


def fail(message: str, remedy: str) -> Finding:
    """Return a finding of what keeps jobs from running."""
    return Finding(Level.FAIL, message, remedy)
