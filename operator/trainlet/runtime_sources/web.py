"""One GET after another, with bounds: of time, size and redirects. Knows neither runtimes nor where they are kept."""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from trainlet.runtime_sources.address import SourceError, check_url

#: Of one answer of the network, and of all that one source is asked for.
TIMEOUT_SECONDS, SOURCE_SECONDS = 10.0, 60.0
_BLOCK_BYTES = 1 << 16
#: All that a URL may hold beside letters and digits; a percent sign is there because something is quoted already.
_SAFE = "%/:=&?~+!$,;'@()*[]"
_NETWORK = "check the network, and HTTPS_PROXY if there is a proxy"
_REMEDIES = {
    401: "the server wants a login, which a source cannot have: use a URL that needs none",
    403: "the server does not give it to this machine: check the URL, and who may read it",
    404: "check the URL",
    410: "use another URL: the server does not have it any more",
    429: "too much is asked of the server: it is asked again later",
}


class Refused(SourceError):
    """An answer of a server that is none of ours to use."""

    def __init__(self, code: int, reason: str, headers: Message, url: str) -> None:
        remedy = _REMEDIES.get(code, "check the URL" if code < 500 else "it is asked again later")
        super().__init__(f"the server answered {code} {' '.join(reason.split())}", where=show_url(url), remedy=remedy)
        self.code, self.headers = code, headers


@dataclass(frozen=True)
class Answer:
    """What a URL holds; `conditions` are the headers that ask for it only if it is another."""

    body: bytes
    conditions: Mapping[str, str]


class Web:
    """A visit of one source, which has to end in time."""

    def __init__(
        self, *, allow_http: bool = False, seconds: float = SOURCE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._end = clock, clock() + seconds
        self._opener = build_opener(_Redirects(allow_http), HTTPSHandler(context=ssl.create_default_context()))

    def get(self, url: str, headers: Mapping[str, str], most_bytes: int) -> Answer | None:
        """Return what the URL holds, None if it is what the headers say is known. Raises SourceError."""
        common = {"User-Agent": "trainlet", "Accept-Encoding": "identity"}
        try:
            request = Request(quote(url, safe=_SAFE), headers={**common, **headers})
            with self._opener.open(request, timeout=self._get_timeout(url)) as response:
                return Answer(self._read(response, url, most_bytes), _build_conditions(response.headers))
        except HTTPError as error:
            with error:
                if error.code == 304:
                    return None
                raise Refused(error.code, str(error.reason), error.headers, url) from None
        except (OSError, http.client.HTTPException) as error:
            raise _explain(error, url) from None
        except ValueError as error:
            raise SourceError(f"that is no URL: {error}", where=show_url(url), remedy="correct it") from None

    def _get_timeout(self, url: str) -> float:
        left = self._end - self._clock()
        if left <= 0:
            raise SourceError("the source takes too long", where=show_url(url), remedy=_NETWORK)
        return min(TIMEOUT_SECONDS, left)

    def _read(self, response: Any, url: str, most_bytes: int) -> bytes:
        body = bytearray()
        while block := response.read1(_BLOCK_BYTES):
            body += block
            if len(body) > most_bytes:
                raise SourceError(
                    f"it has more than {most_bytes} bytes", where=show_url(url), remedy="name a smaller one"
                )
            self._get_timeout(url)
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) != len(body):
            raise SourceError(
                f"the connection ended after {len(body)} of {length} bytes", where=show_url(url), remedy=_NETWORK
            )
        return bytes(body)


class _Redirects(HTTPRedirectHandler):
    """Follows a few redirects, never from https to http, and takes no secret from one host to another."""

    max_redirections = 5

    def __init__(self, allow_http: bool) -> None:
        self._allow_http = allow_http

    def redirect_request(self, req: Request, *rest: Any) -> Request:
        """Return the request to make next; the last argument is its URL."""
        url: str = rest[-1]
        parts = urlsplit(url)
        if parts.scheme != "https" and not (self._allow_http and parts.scheme == req.type == "http"):
            what = f"the server leads to {parts.scheme}://"
            raise SourceError(what, where=show_url(req.full_url), remedy="use a source that stays with https://")
        check_url(url)
        kept = req.headers if parts.netloc == urlsplit(req.full_url).netloc else _drop_secret(req.headers)
        return Request(quote(url, safe=_SAFE), headers=kept)


def show_url(url: str) -> str:
    """Write a URL without what may be a secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + ("?..." if parts.query else "")


def _drop_secret(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "authorization"}


def _build_conditions(headers: Message) -> dict[str, str]:
    pairs = (("If-None-Match", headers.get("ETag")), ("If-Modified-Since", headers.get("Last-Modified")))
    return {name: value for name, value in pairs if value}


def _explain(error: Exception, url: str) -> SourceError:
    """Say what is wrong with the way to a server, and what can be done about it."""
    reason = getattr(error, "reason", error)
    remedy = _NETWORK
    if isinstance(reason, socket.gaierror):
        what = f"the name {urlsplit(url).hostname} cannot be resolved"
    elif isinstance(reason, ssl.SSLCertVerificationError):
        what = f"the server's certificate is not trusted: {reason.verify_message}"
        remedy = "name the file with its authority's certificate in SSL_CERT_FILE, or correct the URL"
    elif isinstance(reason, TimeoutError):
        what = "the server does not answer in time"
    elif isinstance(reason, OSError) and reason.strerror:
        what = reason.strerror
    else:
        what = " ".join(str(reason).split()) or type(reason).__name__
    return SourceError(what, where=show_url(url), remedy=remedy)
