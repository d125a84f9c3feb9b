"""Watches: what there is, if that is asked for, and then every change, for as long as the client stays."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass

from trainlet.kube.errors import ApiError
from trainlet.kube.merge import put
from trainlet.kube.meta import JSON, get_metadata
from trainlet.server.api.errors import build_expired_error, write_status
from trainlet.server.api.history import Event, Expired, History
from trainlet.server.api.lists import Scope
from trainlet.server.api.queries import parse_count, parse_flag
from trainlet.server.api.reading import StoreReader
from trainlet.server.api.rendering import Renderer, Style, encode
from trainlet.store import ChangeType

#: How often a client that wants bookmarks is told how far it is.
_BOOKMARK_SECONDS = 60.0
_VERSION = ("metadata", "resourceVersion")
_INITIAL = "resourceVersionMatch: Forbidden: sendInitialEvents goes with resourceVersionMatch NotOlderThan"


@dataclass(frozen=True)
class WatchOptions:
    """What a watch asks for. `after` is the version after which changes are sent, None for all from now on.

    `sends_objects`: what there is comes first; `marks_end`: and then a bookmark that says so.
    """

    after: int | None
    sends_objects: bool
    marks_end: bool
    bookmarks: bool
    timeout_seconds: int


def parse_watch(query: Mapping[str, str]) -> WatchOptions:
    """Return the options of a watch. Raises ApiError."""
    version, initial = parse_count(query, "resourceVersion"), query.get("sendInitialEvents")
    if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        raise ApiError(_INITIAL, code=422, reason="Invalid")
    wants_initial = version == 0 if initial is None else parse_flag(query, "sendInitialEvents")
    return WatchOptions(
        after=version or None,
        sends_objects=wants_initial,
        marks_end=wants_initial and initial is not None,
        bookmarks=parse_flag(query, "allowWatchBookmarks"),
        timeout_seconds=parse_count(query, "timeoutSeconds"),
    )


class Watcher:
    """Serves watches of one history."""

    def __init__(self, reader: StoreReader, history: History, renderer: Renderer) -> None:
        self._reader, self._history, self._renderer = reader, history, renderer

    def watch(self, scope: Scope, options: WatchOptions, style: Style) -> AsyncIterator[bytes]:
        """Return the frames from now on until the time is over, the operator ends, or what is next is not kept."""
        cursor = self._history.version if options.after is None else options.after
        return self._watch(scope, options, style, cursor)

    async def _watch(self, scope: Scope, options: WatchOptions, style: Style, cursor: int) -> AsyncIterator[bytes]:
        if options.sends_objects:
            taken = await asyncio.to_thread(self._reader.take_snapshot, scope.resource, scope.namespace, scope.jobs)
            cursor = taken.version
            yield b"".join(
                self._frame("ADDED", scope, each, style) for each in taken.objects if scope.selection.includes(each)
            )
        if options.marks_end:
            yield self._mark(scope, cursor, style, is_first=True)
        try:
            async for frames in self._follow(scope, options, style, cursor):
                yield frames
        except Expired:
            yield _frame_error(cursor)

    async def _follow(self, scope: Scope, options: WatchOptions, style: Style, cursor: int) -> AsyncIterator[bytes]:
        now = time.monotonic
        end = now() + options.timeout_seconds if options.timeout_seconds else None
        next_mark = now() + _BOOKMARK_SECONDS if options.bookmarks else None
        while True:
            reached = self._history.version
            if found := self._history.read_after(scope.resource, cursor):
                cursor = found[-1].version
                yield b"".join(self._select(found, scope, style))
            elif self._history.is_closed:
                return
            elif end is not None and now() >= end:
                if options.bookmarks:
                    yield self._mark(scope, max(reached, cursor), style)
                return
            elif next_mark is not None and now() >= next_mark:
                next_mark = now() + _BOOKMARK_SECONDS
                yield self._mark(scope, max(reached, cursor), style)
            else:
                waits = [each - now() for each in (end, next_mark) if each is not None]
                await self._history.wait(max(0.0, min(waits)) if waits else None)

    def _select(self, events: list[Event], scope: Scope, style: Style) -> Iterator[bytes]:
        """Yield the frames of changes that a watch is about."""
        for event in events:
            if scope.namespace in (None, get_metadata(event.object).get("namespace")):
                type = _judge(event, scope)
                if type is not None:
                    yield self._encode(event, type, scope, style)

    def _encode(self, event: Event, type: ChangeType, scope: Scope, style: Style) -> bytes:
        """Return an event's frame; all watches of one style share it."""
        frame = event.frames.get((type, style))
        if frame is None:
            has_left = type is ChangeType.DELETED is not event.type
            shown = put(event.old or {}, _VERSION, str(event.version)) if has_left else event.object
            frame = event.frames[(type, style)] = self._frame(type, scope, shown, style)
        return frame

    def _frame(self, type: str, scope: Scope, shown: JSON, style: Style) -> bytes:
        return _frame(type, self._renderer.render(scope.resource, shown, style))

    def _mark(self, scope: Scope, version: int, style: Style, *, is_first: bool = False) -> bytes:
        return _frame("BOOKMARK", self._renderer.render_bookmark(scope.resource, version, style, is_first=is_first))


def _judge(event: Event, scope: Scope) -> ChangeType | None:
    """Return what a change is to those who see only what is selected, None for nothing."""
    selection = scope.selection
    if not selection:
        return event.type
    was = event.old is not None and selection.includes(event.old)
    if event.type is ChangeType.DELETED:
        return ChangeType.DELETED if was else None
    match was, selection.includes(event.object):
        case True, True:
            return ChangeType.MODIFIED
        case False, True:
            return ChangeType.ADDED
        case True, False:
            return ChangeType.DELETED
    return None


def _frame(type: str, document: JSON) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (type.encode(), encode(document))


def _frame_error(version: int) -> bytes:
    return _frame("ERROR", write_status(build_expired_error(f"too old resource version: {version}")))
