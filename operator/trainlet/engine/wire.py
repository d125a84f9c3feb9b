"""What both HTTP engines send: log frames, JSON lines, times, volumes; and the streams that must be closable.

Knows bytes and open responses, and nothing of any library or of what a container is.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_network
from typing import Any

import requests
import urllib3

from trainlet.engine.base import LogLine, Streams
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import JSON
from trainlet.planning.observed import ObservedVolume
from trainlet.planning.specs import Tmpfs, VolumeSpec

_HEADER_BYTES = 8
_READ_BYTES = 65536
_STREAMS = {1: "stdout", 2: "stderr"}
_ENTRY = re.compile(rb"[^\n]*\n|[^\n]+")
_BLOCK_BYTES = 4096
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?")

#: A line that never ends (a progress bar of carriage returns) is cut here, so that it cannot eat the memory.
LONGEST_LINE_BYTES = 1 << 20


class StreamBroken(EngineError):
    """A stream ended before its end: the engine went away, or `close` was called."""


class StreamSilent(StreamBroken):
    """Nothing came for longer than it was waited for: there was nothing to tell, or it is dead."""


@contextmanager
def reading(response: Any, *streams: Streams) -> Iterator[Iterator[bytes]]:
    """Give the response's chunks as they arrive, and close it after; they raise StreamBroken."""
    for each in streams:
        each.add(response, partial(_shut_down, response))
    try:
        yield _read_chunks(response)
    finally:
        for each in streams:
            each.discard(response)
        response.close()


def _read_chunks(response: Any) -> Iterator[bytes]:
    raw = response.raw
    try:
        if raw.chunked:
            yield from response.iter_content(chunk_size=None)
        else:  # which would be read to its end before anything of it is given
            yield from iter(lambda: raw.read1(_READ_BYTES), b"")
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        if any(isinstance(each, urllib3.exceptions.ReadTimeoutError) for each in (error, *error.args)):
            raise StreamSilent("the engine's stream fell silent") from error
        raise StreamBroken("the engine's stream broke off") from error


def _shut_down(response: Any) -> None:
    # A response that just ended by itself has no socket left; that is as good.
    with suppress(ValueError, RuntimeError, OSError):
        response.raw.shutdown()


def read_message(response: Any) -> str:
    """Return what a refusing response says, and close it."""
    with closing(response):
        try:
            return str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            return str(response.text.strip() or response.reason)


def decode_json_lines(chunks: Iterable[bytes]) -> Iterator[JSON]:
    """Yield the objects of a stream that has one a line. Raises StreamBroken for one that is cut off."""
    rest = b""
    try:
        for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())
        if rest.strip():
            yield json.loads(rest)
    except ValueError as error:
        raise StreamBroken("the engine's stream broke off within a line") from error


def decode_frames(chunks: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield (stream, payload) of a multiplexed stream; a frame that is cut off at the end is dropped."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= _HEADER_BYTES:
            end = _HEADER_BYTES + int.from_bytes(buffer[4:_HEADER_BYTES], "big")
            if len(buffer) < end:
                break
            yield _STREAMS.get(buffer[0], "stdout"), bytes(buffer[_HEADER_BYTES:end])
            del buffer[:end]


def decode_log(chunks: Iterable[bytes]) -> Iterator[LogLine]:
    """Yield the lines of a log that was asked for with time stamps.

    Engines cut long lines into several entries, each with its own stamp and only the last with a line end.
    """
    partial: dict[str, tuple[datetime | None, bytearray]] = {}
    for stream, payload in decode_frames(chunks):
        for entry in _ENTRY.findall(payload):
            time, text = _split_stamp(entry)
            time, line = partial.setdefault(stream, (time, bytearray()))
            line += text
            if line.endswith(b"\n") or len(line) >= LONGEST_LINE_BYTES:
                yield _build_line(stream, *partial.pop(stream))
    for stream, (time, line) in partial.items():
        yield _build_line(stream, time, line)


def _split_stamp(entry: bytes) -> tuple[datetime | None, bytes]:
    match = _STAMP.match(entry)
    if match is None:
        return None, entry
    return parse_engine_time(match[1].decode()), entry[match.end() :]


def _build_line(stream: str, time: datetime | None, line: bytearray) -> LogLine:
    return LogLine(line.removesuffix(b"\n").decode(errors="replace"), time, stream)


def parse_engine_time(value: str | int | None) -> datetime | None:
    """Read RFC 3339 text (cut to microseconds) or Unix seconds; the engines' zero times are None."""
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC) if value > 0 else None
    if not value or value.startswith("0001-"):
        return None
    return datetime.fromisoformat(value)


def build_log_query(since: datetime | None, tail: int | None, *, follow: bool) -> dict[str, str]:
    """Build the query that both APIs understand: both streams, stamps on, `since` as fractional seconds."""
    query = {"stdout": "true", "stderr": "true", "timestamps": "true", "follow": str(follow).lower()}
    if since is not None:
        query["since"] = f"{since.timestamp():.6f}"
    if tail is not None:
        query["tail"] = str(tail)
    return query


def read_volume(row: Mapping[str, Any]) -> ObservedVolume:
    """Read one row of a volume list, which both engines write alike."""
    return ObservedVolume(row["Name"], row.get("Labels") or {})


def read_path_stat(headers: Mapping[str, str]) -> JSON:
    """Read what a path in a container is, from the headers that describe it; nothing if it is not there."""
    text = headers.get("X-Docker-Container-Path-Stat")
    return dict(json.loads(b64decode(text))) if text else {}


def build_tmpfs_options(tmpfs: Tmpfs) -> list[str]:
    """Return mount options: everybody may write, and run what is there, as in a pod's memory volume."""
    size = [] if tmpfs.size_bytes is None else [f"size={tmpfs.size_bytes}"]
    return ["rw", "exec", "mode=1777", *size]


def build_memory_options(spec: VolumeSpec) -> dict[str, str]:
    """Return the options of a volume in memory; its size is in blocks, as Podman takes `size` for a disk quota."""
    blocks = [] if spec.size_bytes is None else [f"nr_blocks={-(-spec.size_bytes // _BLOCK_BYTES)}"]
    mode = ["mode=1777"] if spec.group is None else ["mode=2777", f"gid={spec.group}"]
    return {"type": "tmpfs", "device": "tmpfs", "o": ",".join([*mode, *blocks])}


def build_gateway(subnet: str) -> str:
    """Return a subnet's first address: the host's end of the bridge."""
    return str(ip_network(subnet)[1])
