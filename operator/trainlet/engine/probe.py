"""Asks one socket what listens there, with nothing but the standard library, so that looking around is fast.

Knows the one call that both APIs share; says why it failed in words for people.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from trainlet.engine.explain import explain_unreachable

_TIMEOUT_SECONDS = 5.0
_NO_ENGINE = "what answers is no container engine, or it wants TLS: for another machine use ssh://user@host"


@dataclass(frozen=True)
class Attempt:
    """One place that was asked, and what came of it. `runtime` is what answered, else what was looked for."""

    runtime: str
    url: str
    ok: bool
    version: str = ""
    error: str = ""

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
        answer = _get_version(connect_url or url)
        version = str(answer["Version"])
    except (OSError, http.client.HTTPException) as error:
        reason, remedy = explain_unreachable(error, runtime)
        return Attempt(runtime, url, ok=False, error=f"{reason}: {remedy}")
    except (ValueError, KeyError, TypeError):
        return Attempt(runtime, url, ok=False, error=_NO_ENGINE)
    return Attempt(_read_runtime(answer), url, ok=True, version=version)


def _get_version(url: str) -> Any:
    connection = _open_connection(url)
    try:
        connection.request("GET", "/version")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _open_connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _UnixConnection(url.removeprefix("unix://"))
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)


def _read_runtime(answer: Any) -> str:
    """Tell Podman, which also answers under Docker's name, from Docker."""
    names = [component.get("Name", "") for component in answer.get("Components") or ()]
    return "podman" if "Podman Engine" in names else "docker"
