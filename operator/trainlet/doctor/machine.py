"""What checks look at and what they find. Everything of the machine comes through here, so that a tree of files can
stand for one.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from trainlet.doctor.asking import fetch
from trainlet.engine.base import Engine, EngineUnavailable
from trainlet.engine.detect import Surroundings
from trainlet.engine.probe import Attempt
from trainlet.settings import Settings, get_default_shm_bytes

#: Where engines that root runs have their sockets, and where those of the user with this number do.
_ROOTS_SOCKET = re.compile(r"unix://(/var)?/run/(docker|podman/podman)\.sock")
_USERS_SOCKET = re.compile(r"unix:///run/user/(\d+)/.*")
#: How an engine can be asked by hand; a tunnel's other end is known to the engine alone.
_ASKABLE = ("unix:", "tcp:", "http:")
_PROGRAM_TIMEOUT_SECONDS = 3.0
_PASSWD_COLUMNS = 7


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


def find_existing(path: Path) -> Path:
    """Return the path, or the nearest directory above it that is there and may be seen."""
    return next(each for each in (path, *path.parents) if os.path.exists(each))  # noqa: PTH110  Path's raises


def read_clock() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


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
    fetch: Callable[[str, str, str], Any] = fetch
    now: Callable[[], datetime] = read_clock
    get_shm_bytes: Callable[[], int] = get_default_shm_bytes

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

    @property
    def is_askable(self) -> bool:
        """Whether `ask` can reach the engine."""
        return self.engine is not None and self.engine.endpoint.startswith(_ASKABLE)

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What the engine says of itself, in Docker's words; empty if it does not."""
        try:
            return self.ask("/info") or {}
        except EngineUnavailable:
            return {}

    def ask(self, path: str, **filters: str) -> Any:
        """Return what the engine's API answers to a GET, in Docker's words, which Podman knows too.

        None for what it does not have, or if it cannot be asked from here. Raises EngineUnavailable.
        """
        if self.engine is None or not self.is_askable:
            return None
        query = quote(json.dumps({key: [value] for key, value in filters.items()}))
        return self.fetch(self.runtime, self.engine.endpoint, f"{quote(path)}?all=true&filters={query}")

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

    def find_user(self, uid: int) -> list[str]:
        """Return the columns of /etc/passwd for a user, or none."""
        rows = (line.split(":") for line in self.read("/etc/passwd").splitlines())
        return next((row for row in rows if len(row) == _PASSWD_COLUMNS and row[2] == str(uid)), [])

    def find_program(self, *names: str) -> str | None:
        """Return the path of the first of these programs that is there."""
        search = self.around.environ.get("PATH", os.defpath)
        return next((found for name in names if (found := shutil.which(name, path=search))), None)

    def run(self, *command: str) -> str:
        """Return what a program that only looks around says; nothing if it is not there, fails or takes long."""
        program = self.find_program(command[0])
        if program is None:
            return ""
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                [program, *command[1:]], capture_output=True, text=True, timeout=_PROGRAM_TIMEOUT_SECONDS, check=True
            ).stdout
        return ""


def ok(message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, message)


def warn(message: str, remedy: str) -> Finding:
    """Return a finding of what may become a problem."""
    return Finding(Level.WARN, message, remedy)


def fail(message: str, remedy: str) -> Finding:
    """Return a finding of what keeps jobs from running."""
    return Finding(Level.FAIL, message, remedy)
