"""One try to get a URL into a file: conditional, resumed where it can be, and whole or not at all."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from .files import BLOCK_BYTES, read_json, write_json
from .messages import FetchError, Progress, show_bytes, show_uri
from .source import check_url

_TIMEOUT_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 60.0
#: Answers that may be others a little later.
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_REMEDIES = {
    401: "the server wants a login, which an https:// source cannot have: use a URL that needs none",
    403: "the server does not give it to this machine: check the URL, and who may read it",
    404: "check the URL",
    410: "the server does not have it any more: use another URL",
}
#: All that a URL may hold beside letters and digits; a percent sign is there because something is quoted already.
_SAFE = "%/:=&?~#+!$,;'@()*[]"


class Lost(Exception):
    """The try failed, and the next may succeed, after `wait_seconds` at least."""

    def __init__(self, what: str, wait_seconds: float = 0.0) -> None:
        super().__init__(what)
        self.wait_seconds = wait_seconds


class Unchanged(Exception):
    """The server says that what is known is still so."""


class Limits(NamedTuple):
    """What a download may do."""

    allow_http: bool
    max_bytes: int
    progress_seconds: float


class Validators(NamedTuple):
    """How a server tells one content of a URL from another."""

    etag: str = ""
    modified: str = ""
    resume: str = ""

    @classmethod
    def of(cls, headers: Message) -> Validators:
        """Read them. To resume takes a strong one (RFC 9110, 8.8): a date only if no second change fits into it."""
        etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
        is_settled = modified != headers.get("Date", modified)
        weak = etag.startswith("W/")
        return cls(etag, modified, etag if etag and not weak else modified if is_settled else "")

    @property
    def conditions(self) -> dict[str, str]:
        """The headers of a request for what is not known yet."""
        return {
            **({"If-None-Match": self.etag} if self.etag else {}),
            **({"If-Modified-Since": self.modified} if self.modified else {}),
        }


class Part:
    """A file that may hold the beginning of a download, and what tells whether its rest still fits."""

    def __init__(self, path: Path) -> None:
        self.path, self._notes = path, path.with_name(f"{path.name}.json")
        notes = read_json(self._notes)
        self.validators = Validators(*(str(notes.get(name, "")) for name in Validators._fields))
        self.have_bytes = path.stat().st_size if self.validators.resume and path.exists() else 0

    def begin(self, validators: Validators) -> None:
        """Empty it; notes never speak of bytes that came before them."""
        self.discard()
        write_json(self._notes, validators._asdict())
        self.validators, self.have_bytes = validators, 0

    def discard(self) -> None:
        """Remove it."""
        for path in (self._notes, self.path):
            path.unlink(missing_ok=True)


def download(url: str, part: Part, known: Validators, limits: Limits) -> Validators:
    """Fill the part with what the URL holds. Raises Lost, Unchanged, FetchError."""
    headers = {"User-Agent": "trainlet-fetch", "Accept-Encoding": "identity"}
    if part.have_bytes:
        headers.update({"Range": f"bytes={part.have_bytes}-", "If-Range": part.validators.resume})
    else:
        headers.update(known.conditions)
    request = Request(quote(url, safe=_SAFE), headers=headers)
    opener = build_opener(_Redirects(limits.allow_http), HTTPSHandler(context=ssl.create_default_context()))
    try:
        response = opener.open(request, timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{part.have_bytes}":
                return part.validators  # all of it came, and then nobody was left to see
            raise _judge_answer(error, url, part) from None
    except (OSError, http.client.HTTPException) as error:
        raise _judge_trouble(error, url) from None
    except ValueError as error:
        raise FetchError(f"that is no URL: {error}", show_uri(url), "correct it") from None
    with response:
        _receive(response, url, part, limits)
    return part.validators


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to where the source itself might have been."""

    def __init__(self, allow_http: bool) -> None:
        self._allow_http = allow_http

    def redirect_request(self, req: Request, *rest: Any) -> Request:
        """Return the request to make next; the last argument is its URL."""
        url: str = rest[-1]
        check_url(url, allow_http=self._allow_http)
        return Request(quote(url, safe=_SAFE), headers=req.headers)

    # Python knows it from 3.11 on.
    http_error_308 = HTTPRedirectHandler.http_error_302


def _receive(response: Any, url: str, part: Part, limits: Limits) -> None:
    """Write a response's body. Raises Lost where it is not whole; what came is kept for the next try."""
    if response.status == 206:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {part.have_bytes}-"):
            part.discard()
            raise Lost("the server sent another part than was asked for")
    else:
        part.begin(Validators.of(response.headers))
    length = response.headers.get("Content-Length", "")
    total = part.have_bytes + int(length) if length.isdigit() else None
    progress = Progress(f"fetched of {show_uri(url)}", limits.progress_seconds)
    with part.path.open("ab") as file:
        done = file.tell()
        for block in _read(response, url):
            file.write(block)
            done += len(block)
            progress.tell(done, total)
            if max(done, total or 0) > limits.max_bytes:
                limit = show_bytes(limits.max_bytes)
                raise FetchError(f"the source is larger than {limit}", show_uri(url), "fetch a smaller one")
        file.flush()
        os.fsync(file.fileno())
    if total is not None and done != total:
        raise Lost(f"the connection ended after {done} of {total} bytes")


def _read(response: Any, url: str) -> Iterator[bytes]:
    """Yield the body; trouble with the connection must not look like trouble with our disk."""
    while True:
        try:
            block = response.read(BLOCK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _judge_trouble(error, url) from None
        if not block:
            return
        yield block


def _judge_answer(error: HTTPError, url: str, part: Part) -> Exception:
    answer = f"the server answered {error.code} {error.reason}"
    if error.code == 304:
        return Unchanged()
    if error.code == 416:
        part.discard()
        return Lost(answer)
    if error.code in _BUSY:
        after = error.headers.get("Retry-After", "")
        return Lost(answer, min(float(after), _LONGEST_WAIT_SECONDS) if after.isdigit() else 0.0)
    return FetchError(answer, show_uri(url), _REMEDIES.get(error.code, "check the URL"))


def _judge_trouble(error: Exception, url: str) -> Exception:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        remedy = "name the file with its authority's certificate in SSL_CERT_FILE, or correct the URL"
        return FetchError(f"the server's certificate is not trusted: {reason.verify_message}", show_uri(url), remedy)
    return Lost(f"{type(reason).__name__}: {reason}" if not str(reason) else str(reason))
