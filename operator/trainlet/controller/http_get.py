"""One GET as a kubelet makes it, over connections that somebody else opens (kubernetes pkg/probe/http).

Redirects are followed on the same host alone, certificates are not checked, and of the body little is read.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from trainlet.apis.core_v1 import HttpGet

#: Given a port, open a connection to it.
Open = Callable[[int], socket.socket]

_MOST_REDIRECTS = 10
_BODY_BYTES = 10 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_HEADERS: Mapping[str, str] = {"user-agent": "kube-probe/trainlet", "accept": "*/*", "connection": "close"}
_SAFE = "/%?&=+:,;@!$'()*~[]"


@dataclass(frozen=True)
class Reply:
    """What was answered; `text` is the beginning of the body."""

    status: int
    text: str = ""
    location: str = ""


def build_url(action: HttpGet, host: str, port: int) -> str:
    """Return what is to be asked for; the path may have a query."""
    host = f"[{host}]" if ":" in host else host
    return f"{action.scheme.lower()}://{host}:{port}/{quote(action.path, _SAFE).removeprefix('/')}"


def get(url: str, headers: Mapping[str, str], open_connection: Open, timeout_seconds: float) -> Reply:
    """Send the request and follow it to its end; a redirect to another host is the end.

    The names of headers are in small letters. Raises OSError or HTTPException when there is no answer.
    """
    deadline = time.monotonic() + timeout_seconds
    for _ in range(_MOST_REDIRECTS):
        reply = _ask(url, {**_HEADERS, **headers}, open_connection, deadline)
        target = urlsplit(urljoin(url, reply.location))
        if not reply.location or target.hostname != urlsplit(url).hostname or target.scheme not in _PORTS:
            return reply
        url = target._replace(fragment="").geturl()
    raise http.client.HTTPException(f"stopped after {_MOST_REDIRECTS} redirects")


def _ask(url: str, headers: Mapping[str, str], open_connection: Open, deadline: float) -> Reply:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or _PORTS[parts.scheme])
    plain = open_connection(connection.port)
    with _cutting(plain, deadline):
        connection.sock = _encrypt(plain, parts.hostname) if parts.scheme == "https" else plain
        with closing(connection):
            connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", headers=headers)
            with connection.getresponse() as response:
                location = response.headers.get("location", "") if response.status in _REDIRECTS else ""
                return Reply(response.status, response.read(_BODY_BYTES).decode(errors="replace"), location)


def _encrypt(plain: socket.socket, host: str | None) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=host)


@contextmanager
def _cutting(connection: socket.socket, deadline: float) -> Iterator[None]:
    """Cut a connection at the deadline, whoever then holds it: a server that drips would keep it for ever."""
    is_late = threading.Event()
    with closing(connection), closing(connection.dup()) as same:

        def cut() -> None:
            is_late.set()
            with suppress(OSError):
                same.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, http.client.HTTPException):
            if not is_late.is_set():
                raise
        finally:
            timer.cancel()
    if is_late.is_set():
        raise TimeoutError("no answer in time")
