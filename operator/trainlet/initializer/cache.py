"""Downloads that many programs share: one at a time for a URL, kept by content and asked for again by its validators.

blobs/sha256-HEX   what was downloaded, whole
urls/KEY.json      which blob a URL had, with its validators; KEY.lock is held by who asks for it
parts/KEY          the beginning of a download
"""

from __future__ import annotations

import ssl
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from .files import hash_file, hash_text, locked, read_json, sync_directory, write_json
from .messages import FetchError, say, show_uri, warn
from .web import Limits, Lost, Part, Unchanged, Validators, download

_TRIES, _TRIES_WITH_A_COPY = 5, 2
_DIRECTORIES = ("blobs", "urls", "parts")


class Blob(NamedTuple):
    """A file of the cache, and its digest as `sha256-HEX`."""

    path: Path
    digest: str


class Cache:
    """A cache in a directory. What is in it was written by others and is believed only if its digest is right."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in _DIRECTORIES:
            (root / name).mkdir(parents=True, exist_ok=True)

    def get(self, url: str, limits: Limits, backoff_seconds: float) -> Blob:
        """Return what the URL holds. Raises FetchError, OSError."""
        began = time.time()
        key = hash_text(url, _describe_trust())
        index = self._root / "urls" / f"{key}.json"
        with locked(index.with_suffix(".lock"), f"another job fetches {show_uri(url)}: waiting for it"):
            entry = read_json(index)
            blob = self._find_blob(entry)
            checked = entry.get("checked")
            if blob is not None and isinstance(checked, float) and began <= checked <= time.time():
                return blob  # whoever we waited for has just asked
            known = Validators(str(entry.get("etag", "")), str(entry.get("modified", ""))) if blob else Validators()
            part = self._root / "parts" / key
            try:
                validators = _try(url, part, known, limits, backoff_seconds, _TRIES_WITH_A_COPY if blob else _TRIES)
                blob = self._adopt(part)
            except Unchanged:
                if blob is None:
                    raise FetchError("the server answered 304 unasked", show_uri(url), "check the URL") from None
                validators = known
            except Lost as error:
                if blob is None:
                    what, remedy = f"it could not be fetched: {error}", "check the network, the proxy and the server"
                    raise FetchError(what, show_uri(url), remedy) from None
                warn(f"{show_uri(url)} cannot be reached ({error}): what was fetched before is used")
                return blob
            write_json(index, _build_entry(url, validators, blob))
            return blob

    def _find_blob(self, entry: dict[str, Any]) -> Blob | None:
        digest = str(entry.get("blob", ""))
        path = self._root / "blobs" / digest
        if not digest.startswith("sha256-") or "/" in digest or not path.is_file():
            return None
        if hash_file(path) == digest:
            return Blob(path, digest)
        warn(f"{path} is damaged and is fetched again")
        path.unlink()
        return None

    def _adopt(self, part: Path) -> Blob:
        digest = hash_file(part)
        path = self._root / "blobs" / digest
        part.replace(path)
        sync_directory(path.parent)
        Part(part).discard()
        return Blob(path, digest)


def open_cache(wanted: Path | None, fallback: Path) -> Cache:
    """Return the wanted cache, or one in `fallback` where there is none or it cannot be written."""
    if wanted is not None:
        try:
            cache = Cache(wanted)
            with tempfile.TemporaryFile(dir=wanted / _DIRECTORIES[0]):
                return cache
        except OSError as error:
            warn(f"the cache cannot be used ({wanted}: {error.strerror})")
    return Cache(fallback)


def _try(url: str, part: Path, known: Validators, limits: Limits, backoff_seconds: float, tries: int) -> Validators:
    """Download, again after every loss. Raises Lost with the last one."""
    for attempt in range(tries):
        try:
            return download(url, Part(part), known, limits)
        except Lost as error:
            if attempt + 1 == tries:
                raise
            delay = max(error.wait_seconds, backoff_seconds * 2**attempt)
            say(f"{error}: trying again in {delay:g} s")
            time.sleep(delay)
    raise AssertionError


def _build_entry(url: str, validators: Validators, blob: Blob) -> dict[str, Any]:
    return {
        "url": show_uri(url),
        "etag": validators.etag,
        "modified": validators.modified,
        "blob": blob.digest,
        "checked": time.time(),
    }


def _describe_trust() -> str:
    """Return what tells whose word a download rests on: a job that trusts more must not fetch for the others."""
    paths = ssl.get_default_verify_paths()
    own = [Path(path) for path in (paths.cafile,) if path and path != paths.openssl_cafile]
    return " ".join(hash_file(path) for path in own)
