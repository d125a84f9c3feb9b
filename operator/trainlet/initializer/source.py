"""What may be fetched, and what an archive is. Judges texts only."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from .messages import FetchError, show_uri

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ARCHIVES = {".zip": "zip", **dict.fromkeys(_TAR_ENDINGS, "tar")}
_ZSTANDARD = (".tar.zst", ".tzst")
_LONGEST_NAME_BYTES = 255


class Source(NamedTuple):
    """A source that can be fetched. `path` is where a file:// source is, None for a URL; `name` its last part."""

    uri: str
    path: str | None
    name: str

    @property
    def shown(self) -> str:
        """The source for people."""
        return show_uri(self.uri)


def parse_source(uri: str, *, allow_http: bool) -> Source:
    """Return the source that a URI names. Raises FetchError."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise FetchError(f"that is no URI: {error}", show_uri(uri), "correct it") from None
    path = _parse_path(uri) if parts.scheme == "file" else None
    if path is None:
        check_url(uri, allow_http=allow_http)
    name = _get_name(unquote(parts.path, errors="surrogateescape") if path is None else path)
    if name.lower().endswith(_ZSTANDARD):
        raise FetchError("Zstandard archives cannot be unpacked", show_uri(uri), "pack it as .tar.gz, .tar.xz or .zip")
    return Source(uri, path, name)


def check_url(url: str, *, allow_http: bool) -> None:
    """Raise FetchError for what is not fetched over the network; redirects are judged by it, too."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise FetchError(f"that is no URL: {error}", show_uri(url), "correct it") from None
    if parts.scheme not in (("https", "http") if allow_http else ("https",)):
        what = f"{parts.scheme}:// is not fetched" if parts.scheme else "the source has no scheme"
        raise FetchError(what, show_uri(url), "use https:// or file://")
    if not host:
        raise FetchError("the URL names no host", show_uri(url), "write it https://HOST/NAME")
    if "@" in parts.netloc:
        raise FetchError("a login in a URL is not used", show_uri(url), "use a URL that needs none")


def find_archive(name: str) -> str | None:
    """Return `zip` or `tar` for the name of an archive."""
    return next((kind for ending, kind in _ARCHIVES.items() if name.lower().endswith(ending)), None)


def _parse_path(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
        remedy = "write it file:///DIRECTORY/NAME, with %3F for ? and %23 for #"
        raise FetchError("that is no absolute path of this machine", show_uri(uri), remedy)
    return unquote(parts.path, errors="surrogateescape")


def _get_name(path: str) -> str:
    """Return what a file is called that is kept under its source's name."""
    name = "".join(letter for letter in PurePosixPath(path).name if letter.isprintable()).replace("/", "")
    is_usable = name not in ("", ".", "..") and len(name.encode("utf-8", "replace")) <= _LONGEST_NAME_BYTES
    return name if is_usable else "data"
