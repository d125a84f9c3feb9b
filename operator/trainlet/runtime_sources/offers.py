"""All sources in the order of their priority -> what each offers now: of the machine, of the network, or a copy."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from trainlet.apis.trainer import RUNTIME_KINDS
from trainlet.documents.parse import MAX_BYTES, ParseError, parse_documents
from trainlet.documents.scan import find_manifests
from trainlet.kube.meta import format_time
from trainlet.runtime_sources.address import (
    BUILT_IN,
    Address,
    GitHub,
    GitHubAddress,
    LocalAddress,
    RemoteAddress,
    SourceError,
    parse_address,
)
from trainlet.runtime_sources.copies import Copies, Copy, File

log = logging.getLogger(__name__)

#: As long a copy is used without asking.
FRESH = timedelta(hours=24)
#: In every file that defines a runtime.
RUNTIME_MARK = b"TrainingRuntime"


class Asking(Enum):
    """When the network is asked for a source: never, when there is no copy that is fresh, or in any case."""

    NEVER = "never"
    WHEN_OLD = "when old"
    ALWAYS = "always"


@dataclass(frozen=True)
class Offer:
    """What a source has; `checked` is the copy's time (None for a path), `problem` why there is nothing newer."""

    source: str
    files: tuple[File, ...] = ()
    checked: datetime | None = None
    problem: str = ""


class RuntimeSources:
    """The given sources, and last the runtimes that come with the program."""

    def __init__(
        self,
        given: Sequence[str],
        copies: Copies,
        github: GitHub,
        clock: Callable[[], datetime],
        *,
        allow_http: bool = False,
    ) -> None:
        names = dict.fromkeys((*given, BUILT_IN))
        addresses = {name: parse_address(name, allow_http=allow_http) for name in names}
        # What is on this machine is read once: a disk that goes away takes no runtime from those who use it.
        self._sources = {name: _open(name, address) for name, address in addresses.items()}
        self._copies, self._github, self._clock, self._allow_http = copies, github, clock, allow_http

    def read(self, asking: Asking) -> list[Offer]:
        """Return what every source offers, the first in priority first."""
        return [
            source if isinstance(source, Offer) else self._read(name, source, asking)
            for name, source in self._sources.items()
        ]

    def _read(self, name: str, address: RemoteAddress, asking: Asking) -> Offer:
        key = f"{name} {self._github.api}" if isinstance(address, GitHubAddress) else name
        copy = self._copies.find(key)
        if asking is Asking.NEVER or (asking is Asking.WHEN_OLD and self._is_fresh(copy)):
            return _build_offer(name, copy)
        try:
            fetched = self._fetch(address, copy)
        except SourceError as error:
            return replace(_build_offer(name, copy), problem=self._explain(error, name, copy))
        try:
            self._copies.keep(key, fetched)
        except OSError as error:
            log.warning("cannot keep a copy of runtime source %s: %s", name, error)
        return _build_offer(name, fetched)

    def _is_fresh(self, copy: Copy | None) -> bool:
        # A copy from the future is of a clock that was wrong.
        return copy is not None and timedelta() <= self._clock() - copy.checked < FRESH

    def _fetch(self, address: RemoteAddress, copy: Copy | None) -> Copy:
        """Return what the source has now. Raises SourceError, for what holds no runtime too."""
        # Most starts ask for nothing, and need not wait for these.
        from trainlet.runtime_sources.github import GitHubVisit
        from trainlet.runtime_sources.web import Web

        web = Web(allow_http=self._allow_http)
        known, conditions = (copy.files, copy.conditions) if copy else ((), {})
        if isinstance(address, GitHubAddress):
            fetched = GitHubVisit(address, self._github, web).fetch(known, conditions)
        else:
            answer = web.get(address.url, conditions, MAX_BYTES)
            fetched = ((File(address.url, answer.body),), answer.conditions) if answer else None
        if fetched is None:
            return Copy(known, self._clock(), conditions)
        _check(fetched[0])
        return Copy(fetched[0], self._clock(), fetched[1])

    def _explain(self, error: SourceError, name: str, copy: Copy | None) -> str:
        where = "" if error.where == name or not error.where else f" ({error.where})"
        text = f"{error.what}{where}: {error.remedy}"
        if copy is None:
            return text
        hours = int((self._clock() - copy.checked) / timedelta(hours=1))
        return f"{text}; the copy of {format_time(copy.checked)} is used, {hours} hours old"


def _build_offer(name: str, copy: Copy | None) -> Offer:
    return Offer(name, copy.files, copy.checked) if copy else Offer(name)


def _open(name: str, address: Address) -> Offer | RemoteAddress:
    return Offer(name, tuple(_read_files(address.path))) if isinstance(address, LocalAddress) else address


def _read_files(path: Path) -> list[File]:
    files = []
    for file in find_manifests(path):
        try:
            files.append(File(str(file), file.read_bytes()))
        except OSError as error:
            log.warning("runtime source %s: %s", file, error)
    return files


def _check(files: Sequence[File]) -> None:
    """Raise SourceError unless one file at least defines a runtime: a page for people must not replace a copy."""
    problem = ""
    for file in files:
        try:
            documents = parse_documents(file.data) if RUNTIME_MARK in file.data else []
        except ParseError as error:
            problem = f"{file.name} is not YAML: {error}"
            continue
        if any(isinstance(each.value, dict) and each.value.get("kind") in RUNTIME_KINDS for each in documents):
            return
    raise SourceError(problem or "there is no runtime in it", remedy="give a source with a runtime in YAML or JSON")
