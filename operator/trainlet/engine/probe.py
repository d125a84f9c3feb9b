"""Asks one socket what listens there, with nothing but the standard library, so that looking around is fast.

Knows the one call that both APIs share; says why it failed in words for people.
"""

import http.client
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from trainlet.engine.explain import explain_unreachable

_TIMEOUT_SECONDS = 5.0
_NO_ENGINE = "what answers is no container engine, or it wants TLS"
_NO_ENGINE_REMEDY = "for an engine on another machine use ssh://user@host"
# Podman also answers under Docker's name, but says here who it is. (Its /version takes a third of a second.)
_SERVER = re.compile(r"(Docker|Libpod)/(\S+)")
_RUNTIMES = {"Docker": "docker", "Libpod": "podman"}


@dataclass(frozen=True)
class Attempt:
    """One place that was asked, and what came of it. `runtime` is what answered, else what was looked for."""

    runtime: str
    url: str
    ok: bool
    version: str = ""
    error: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.runtime:7} {self.url}: {f'version {self.version}' if self.ok else self.error}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask_version(runtime: str, url: str, connect_url: str = "") -> Attempt:
    """Ask what engine this is. `connect_url` is where to connect if that is not `url` itself (a tunnel)."""
    try:
        server = _SERVER.match(_read_server(connect_url or url))
    except (OSError, http.client.HTTPException) as error:
        reason, remedy = explain_unreachable(error, runtime)
        return Attempt(runtime, url, ok=False, error=reason, remedy=remedy)
    if server is None:
        return Attempt(runtime, url, ok=False, error=_NO_ENGINE, remedy=_NO_ENGINE_REMEDY)
    return Attempt(_RUNTIMES[server[1]], url, ok=True, version=server[2])


def _read_server(url: str) -> str:
    connection = open_connection(url)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().getheader("Server", "")
    finally:
        connection.close()


def open_connection(url: str) -> http.client.HTTPConnection:
    """Return a connection, not yet made, to a unix://, tcp:// or http:// address."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _UnixConnection(url.removeprefix("unix://"))
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
