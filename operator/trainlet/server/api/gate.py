"""Who may ask the API, judged before anything else: what a request is addressed to, where it comes from, its token."""

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.kube.errors import ApiError
from trainlet.server.api.requests import Target, find_target

#: What anybody may ask who can connect.
_OPEN = frozenset({"/healthz", "/livez", "/readyz", "/version"})
_OWNER = "is_owner"


@dataclass(frozen=True)
class Door:
    """What one address demands. `hosts` are the names it is called by, lower case; none: any will do.

    Without a token whoever connects is the owner: that was judged when the connection was made.
    """

    token: str = ""
    hosts: Collection[str] = ()


class Gate:
    """Lets requests through to an application, with what is known of who asks."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._hosts = app, frozenset(door.hosts)
        self._digest = _digest(door.token) if door.token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises ApiError (401, 403)."""
        headers, state = Headers(scope=scope), scope.setdefault("state", {})
        self._check_address(headers)
        state[_OWNER] = self._has_token(headers)
        if state[_OWNER] and "connection" in state:
            state["connection"].is_trusted = True
        if not state[_OWNER] and not _is_open(scope):
            raise ApiError("Unauthorized", code=401, reason="Unauthorized")
        await self._app(scope, receive, send)

    def _check_address(self, headers: Headers) -> None:
        """Refuse what a web page may have made a browser ask: it has an origin, or a name that is not ours."""
        said = ", ".join(headers.getlist("host"))  # two names are none
        if "origin" in headers and not _is_own(headers["origin"], said):
            raise ApiError("requests of web pages are not served", code=403, reason="Forbidden")
        host = _parse_host(said)
        if self._hosts and host not in self._hosts:
            what = f"{host!r} is none of the names of this server: give it in --listen"
            raise ApiError(what, code=403, reason="Forbidden")

    def _has_token(self, headers: Headers) -> bool:
        if not self._digest:
            return True
        scheme, _, token = headers.get("authorization", "").strip().partition(" ")
        # Of both the digests are compared: their lengths tell nothing either.
        return scheme.lower() == "bearer" and hmac.compare_digest(_digest(token.strip()), self._digest)


def is_owner(scope: Scope) -> bool:
    """Tell whether a request that came through a gate is the owner's."""
    return bool(scope["state"][_OWNER])


def is_report(method: str, target: Target | None) -> bool:
    """Tell whether a request is what training code says of its progress; it has a token of its own."""
    return (
        method == "POST" and target is not None and (target.resource.kind, target.subresource) == (TRAIN_JOB, "status")
    )


def _is_open(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    is_asked = scope["method"] == "GET" and (scope["path"].rstrip("/") in _OPEN)
    return is_asked or is_report(scope["method"], find_target(scope["path"]))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _is_own(origin: str, host: str) -> bool:
    """Tell whether an origin is the very address that was asked: so say libraries that want to be good clients."""
    return bool(host) and origin.partition("://")[2] == host


def _parse_host(header: str) -> str:
    """Return the name in a Host header, without its port; empty for what is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
