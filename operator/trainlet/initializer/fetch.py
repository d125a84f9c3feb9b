"""Fetch a data set or a model into a directory: SOURCE, an https:// or file:// URI, into TARGET.

Archives are unpacked, directories copied, other files put into TARGET under their names. TARGET appears whole or not
at all, with a marker that says what it holds: a later start finds a finished one, and never takes a half-filled one
for it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .cache import open_cache
from .content import Content
from .files import hash_file, hash_text, locked
from .messages import FetchError, say, show_bytes
from .place import Place
from .source import Source, find_archive, parse_source
from .unpack import copy_tree, unpack
from .web import Limits


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch what the command line says; return the exit status."""
    options = _parse_options(arguments)
    os.umask(0o022)  # what is fetched is for the job's other users to read
    try:
        _fetch(options)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        what, where = error.strerror or error, error.filename or options.target
        print(f"error: {what} ({where}): see that it can be read or written, and for disk space", file=sys.stderr)
    else:
        return 0
    return 1


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fetch", description="Fetch SOURCE into the directory TARGET.")
    parser.add_argument("source", metavar="SOURCE", help="an https:// or file:// URI")
    parser.add_argument("target", metavar="TARGET", type=Path)
    parser.add_argument("--at", type=Path, metavar="PATH", help="where a file:// source is seen here")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keeps downloads; may be shared")
    parser.add_argument("--ignore", default="", metavar="PATTERNS", help="globs of files to leave out: a,b,...")
    parser.add_argument("--allow-http", action="store_true", help="take sources and redirects without TLS")
    parser.add_argument("--max-bytes", type=int, default=1 << 40, metavar="N", help="the largest source, unpacked")
    parser.add_argument("--max-ratio", type=int, default=200, metavar="N", help="how often its size an archive holds")
    parser.add_argument("--backoff", type=float, default=1.0, metavar="SECONDS", help="before the second try")
    parser.add_argument("--progress", type=float, default=5.0, metavar="SECONDS", help="between two lines of it")
    return parser.parse_args(arguments)


def _fetch(options: argparse.Namespace) -> None:
    source = parse_source(options.source, allow_http=options.allow_http)
    key = hash_text(options.source, options.ignore)
    place = Place(options.target)
    with locked(place.work / "lock", f"another program fills {place.target}: waiting for it"):
        digest = place.find_digest(key)
        if digest is not None:
            say(f"{place.target} holds {source.shown} already ({digest})")
        else:
            try:
                _fill(source, key, place, options)
            except BaseException:
                place.abandon()
                raise
        place.clean()


def _fill(source: Source, key: str, place: Place, options: argparse.Namespace) -> None:
    place.prepare()
    content = Content(place.content, options.ignore, options.max_bytes, options.progress)
    if source.path is None:
        limits = Limits(options.allow_http, options.max_bytes, options.progress)
        blob = open_cache(options.cache, place.work / "cache").get(source.uri, limits, options.backoff)
        digest = blob.digest
        _add(source.name, blob.path, content, options.max_ratio)
    else:
        digest = _copy(source, options.at or Path(source.path), content, options.max_ratio)
    content.finish()
    place.publish({"source": source.shown, "key": key, "digest": digest})
    size = f"{content.files} file{'' if content.files == 1 else 's'}, {show_bytes(content.written_bytes)}"
    say(f"fetched {source.shown}: {size} in {place.target} ({digest})")


def _copy(source: Source, path: Path, content: Content, max_ratio: int) -> str:
    """Copy a directory or deliver a file; return the digest of what was read."""
    if path.is_dir():
        return copy_tree(path, content)
    if not path.is_file():
        remedy = "check the path; it is one of the machine that containers run on"
        raise FetchError("there is no such file or directory", source.shown, remedy)
    digest = hash_file(path)
    _add(source.name, path, content, max_ratio)
    return digest


def _add(name: str, path: Path, content: Content, max_ratio: int) -> None:
    kind = find_archive(name)
    if kind is not None:
        unpack(path, kind, content, max_ratio)
        return
    with path.open("rb") as stream:
        content.add_file(name, stream)
