"""`pods/NAME/log`: what a container writes, as `kubectl logs` and the clients' libraries read it.

Options and refusals are those of upstream's registry and kubelet (kubernetes pkg/apis/core PodLogOptions,
pkg/kubelet/kubelet_pods.go validateContainerLogStatus).
"""

import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from trainlet.documents.status_dir import StatusDir
from trainlet.engine.base import Engine, LogLine, Streams
from trainlet.kube.errors import ApiError, EngineError
from trainlet.kube.merge import find
from trainlet.kube.meta import format_micro_time, parse_time
from trainlet.logs.lines import KeptLogs
from trainlet.logs.reader import LogReader
from trainlet.server.api.pod_streams import Pipe, Threads
from trainlet.server.api.pods import Finder, Place
from trainlet.server.api.queries import parse_flag, refuse
from trainlet.server.api.streams import Stream

log = logging.getLogger(__name__)

#: A type of JSON would make clients parse what is none.
_TEXT = "text/plain"
_LARGEST = 2**63


@dataclass(frozen=True)
class LogOptions:
    """What of a log is wanted; None is no bound."""

    follow: bool
    previous: bool
    with_times: bool
    tail: int | None
    since: datetime | None
    most_bytes: int | None


def parse_log_options(query: Mapping[str, str], now: datetime) -> LogOptions:
    """Return the options of a request. Raises ApiError (400, 422)."""
    seconds, time = _parse_number(query, "sinceSeconds", least=1), query.get("sinceTime")
    if seconds is not None and time:
        raise _build_invalid("at most one of `sinceTime` or `sinceSeconds` may be specified")
    try:
        since = parse_time(time) if time else None if seconds is None else now - timedelta(seconds=seconds)
    except ValueError:
        raise refuse(f"sinceTime: Invalid value: {time!r}: it is a time as in RFC 3339") from None
    except OverflowError:
        since = None  # longer ago than there is time
    return LogOptions(
        follow=parse_flag(query, "follow"),
        previous=parse_flag(query, "previous"),
        with_times=parse_flag(query, "timestamps"),
        tail=_parse_number(query, "tailLines", least=0),
        since=since,
        most_bytes=_parse_number(query, "limitBytes", least=1),
    )


def _parse_number(query: Mapping[str, str], name: str, *, least: int) -> int | None:
    text = query.get(name)
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and int(digits[:20]) < _LARGEST):
        raise refuse(f"{name}: Invalid value: {text!r}: it is a whole number")
    if int(text) < least:
        raise _build_invalid(f"{name}: Invalid value: {text}: must be greater than or equal to {least}")
    return int(text)


def _build_invalid(what: str) -> ApiError:
    return ApiError(f'PodLogOptions "" is invalid: {what}', code=422, reason="Invalid")


def check_has_log(place: Place, *, previous: bool) -> None:
    """Raise ApiError (400) for a container that has not begun, or not before."""
    state, was = place.status.get("state") or {}, find(place.status, "lastState", "terminated")
    if previous and was is None:
        raise refuse(f"previous terminated {place.name} not found")
    if was is None and not ("running" in state or "terminated" in state):
        reason = find(state, "waiting", "reason") or "ContainerCreating"
        raise refuse(f"{place.name} is waiting to start: {reason}")


class Logs:
    """Serves logs: from the engine while a container is there, then from the file that is kept."""

    def __init__(self, finder: Finder, engine: Engine, status_dir: StatusDir, threads: Threads) -> None:
        self._finder, self._engine, self._status_dir, self._threads = finder, engine, status_dir, threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises ApiError."""
        request = Request(scope, receive)
        query, names = request.query_params, request.path_params
        options = parse_log_options(query, datetime.now(UTC))
        with self._threads.reserve("logs"):
            find_place, container = self._finder.find, query.get("container", "")
            place = await self._threads.run(find_place, names["namespace"], names["name"], container)
            check_has_log(place, previous=options.previous)
            streams = Streams()
            pieces = await self._threads.run(self._open, place, options, streams)
            async with aclosing(_carry(self._threads, pieces, streams)) as frames:
                await Stream(frames, _TEXT)(scope, receive, send)

    def _open(self, place: Place, options: LogOptions, streams: Streams) -> Iterator[bytes]:
        """Begin to read a log. Raises ApiError (503) where none of it can be had."""
        kept = KeptLogs(self._status_dir, place.namespace, place.job)
        reader = LogReader(self._engine, place.job_uid, kept, tail=options.tail, since=options.since)
        lines = cut(write_lines(read_lines(reader, place, options, streams), options), options.most_bytes)
        if options.follow:
            return lines  # whose first may take its time
        first = next(lines, None)
        if first is None and reader.problem is not None:
            what = f"the log of {place.name} cannot be read: {reader.problem}"
            raise ApiError(what, code=503, reason="ServiceUnavailable")
        return chain([] if first is None else [first], lines)


def read_lines(reader: LogReader, place: Place, options: LogOptions, streams: Streams) -> Iterator[LogLine]:
    """Yield the lines that are wanted."""
    if options.previous:
        return (line for _, line in reader.read_previous([place.step]))
    if options.follow:
        return reader.follow_run(place.step, streams)
    return (line for _, line in reader.read_present([place.step]))


def write_lines(lines: Iterable[LogLine], options: LogOptions) -> Iterator[bytes]:
    """Yield lines as they are sent; while one is waited for, those before it are on their way."""
    for line in lines:
        time = f"{format_micro_time(line.time)} " if options.with_times and line.time else ""
        yield f"{time}{line.text}\n".encode(errors="replace")


def cut(pieces: Iterable[bytes], most_bytes: int | None) -> Iterator[bytes]:
    """Yield no more than so many bytes."""
    left = _LARGEST if most_bytes is None else most_bytes
    for piece in pieces:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


async def _carry(threads: Threads, pieces: Iterator[bytes], streams: Streams) -> AsyncGenerator[bytes, None]:
    """Yield what a thread reads, for as long as somebody takes it."""
    pipe: Pipe[bytes] = Pipe()
    reading = threads.run(_read, pieces, pipe)
    try:
        while taken := await pipe.take():
            yield b"".join(taken)
    finally:
        pipe.close()
        streams.close()
        await reading


def _read(pieces: Iterator[bytes], pipe: Pipe[bytes]) -> None:
    try:
        pipe.fill((piece, len(piece)) for piece in pieces)
    except EngineError as error:
        log.warning("a log breaks off: %s", error)
    finally:
        pipe.close()
