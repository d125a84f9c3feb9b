"""Lists: what a request means, and page after page of one and the same version."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trainlet.kube.meta import JSON
from trainlet.server.api.errors import build_expired_error
from trainlet.server.api.queries import parse_count, refuse
from trainlet.server.api.reading import StoreReader
from trainlet.server.api.selection import Selection
from trainlet.server.api.types import Resource

#: How many lists wait for their next page at most, and how long one does.
_KEPT, _KEPT_SECONDS = 256, 300.0
_TOO_OLD = "The provided continue parameter is too old to display a consistent list result: list again without it"
_MATCHES = ("", "Exact", "NotOlderThan")


@dataclass(frozen=True)
class Scope:
    """What a list or a watch is about; no namespace means all."""

    resource: Resource
    namespace: str | None
    selection: Selection

    @property
    def jobs(self) -> frozenset[str] | None:
        """The only jobs whose parts are meant, None for all."""
        return self.selection.find_jobs(self.resource)


@dataclass(frozen=True)
class Page:
    """Part of a list, and the metadata that says where it goes on."""

    objects: Sequence[JSON]
    metadata: JSON


@dataclass(frozen=True)
class _Rest:
    """What is left of a list."""

    scope: Scope
    objects: Sequence[JSON]
    version: int
    since: float


class Lister:
    """Lists a reader's objects. What is left of a list in pages is kept for a time. Thread-safe."""

    def __init__(self, reader: StoreReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader, self._clock, self._lock = reader, clock, threading.Lock()
        self._rests: OrderedDict[str, _Rest] = OrderedDict()

    def list(self, scope: Scope, query: Mapping[str, str]) -> Page:
        """Return the page that a query asks for. Raises ApiError."""
        limit, token = parse_count(query, "limit"), query.get("continue", "")
        wanted = _parse_version(query)
        if token:
            rest = self._take(token, scope)
        else:
            taken = self._reader.take_snapshot(scope.resource, scope.namespace, scope.jobs)
            if query.get("resourceVersionMatch") == "Exact" and wanted != taken.version:
                raise build_expired_error(f"The resourceVersion for the provided list is too old: {wanted}")
            objects = [each for each in taken.objects if scope.selection.includes(each)]
            rest = _Rest(scope, objects, taken.version, self._clock())
        return self._cut(rest, limit)

    def _cut(self, rest: _Rest, limit: int) -> Page:
        metadata: JSON = {"resourceVersion": str(rest.version)}
        if not 0 < limit < len(rest.objects):
            return Page(rest.objects, metadata)
        token = secrets.token_urlsafe(18)
        with self._lock:
            left = rest.objects[limit:]
            self._rests[token] = _Rest(rest.scope, left, rest.version, self._clock())
            while len(self._rests) > _KEPT:
                self._rests.popitem(last=False)
        count = {} if rest.scope.selection else {"remainingItemCount": len(left)}
        return Page(rest.objects[:limit], {**metadata, "continue": token, **count})

    def _take(self, token: str, scope: Scope) -> _Rest:
        """Return what a token stands for; it can be asked for again, for an answer may be lost."""
        with self._lock:
            rest = self._rests.get(token)
        if rest is None or self._clock() - rest.since > _KEPT_SECONDS:
            raise build_expired_error(_TOO_OLD)
        if rest.scope != scope:
            what = "the continue parameter is of another list: ask with the selectors of the first page"
            raise refuse(what)
        return rest


def _parse_version(query: Mapping[str, str]) -> int:
    """Return the version that a list must not be older than, or must be. Ours is never too old."""
    version, match = parse_count(query, "resourceVersion"), query.get("resourceVersionMatch", "")
    if match not in _MATCHES or (match and not query.get("resourceVersion")) or (match == "Exact" and not version):
        what = "resourceVersionMatch is Exact, with a resourceVersion above 0, or NotOlderThan, with any"
        raise refuse(what)
    return version
