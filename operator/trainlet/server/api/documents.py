"""What the API says of itself: discovery, versions, OpenAPI, health, and whether one may do what one asks."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from trainlet.kube.meta import JSON
from trainlet.server.api import discovery
from trainlet.server.api.errors import METHODS, build_method_error, build_path_error
from trainlet.server.api.openapi import OpenApi
from trainlet.server.api.rendering import encode
from trainlet.server.api.virtual import VERSION

#: How long a document may be kept whose address changes with its content.
_FOREVER = timedelta(days=365)
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_ALLOWED: JSON = {
    "kind": "SelfSubjectAccessReview",
    "apiVersion": "authorization.k8s.io/v1",
    "metadata": {},
    "spec": {},
    "status": {"allowed": True, "reason": "whoever has the token is the operator's owner"},
}


@dataclass(frozen=True)
class Documents:
    """Serves them. `find_dead` and `find_unready` return what is wrong with the operator, a line each."""

    openapi: OpenApi
    find_dead: Callable[[], list[str]]
    find_unready: Callable[[], list[str]]
    clock: Callable[[], datetime]

    def build_routes(self) -> list[BaseRoute]:
        """Return the routes of all documents."""
        answers: dict[str, Callable[[Request], Response]] = {
            "/version": lambda _: _answer(VERSION),
            "/api": lambda request: _discover(request, discovery.is_core, discovery.build_core_versions()),
            "/apis": lambda request: _discover(request, discovery.is_named, discovery.build_groups()),
            "/api/v1": lambda _: _answer(discovery.find_resources("", "v1")),
            "/apis/{group}": lambda request: _answer(discovery.find_group(**request.path_params)),
            "/apis/{group}/{version}": lambda request: _answer(discovery.find_resources(**request.path_params)),
            # An empty document of the one type that kubectl asks for: it says nothing, and so refuses nothing.
            "/openapi/v2": lambda _: Response(media_type="application/com.github.proto-openapi.spec.v2@v1.0+protobuf"),
            "/openapi/v3": lambda _: _answer(self.openapi.build_index()),
            "/openapi/v3/{path:path}": self._show_openapi,
            "/healthz": lambda _: _tell(self.find_dead()),
            "/livez": lambda _: _tell(self.find_dead()),
            "/readyz": lambda _: _tell([*self.find_dead(), *self.find_unready()]),
        }
        found = [each for path, answer in answers.items() for each in _build_routes(path, answer)]
        return [*found, *(Route(path, _review, methods=METHODS) for path in (_REVIEWS, f"{_REVIEWS}/"))]

    def _show_openapi(self, request: Request) -> Response:
        found = self.openapi.find(request.path_params["path"].strip("/"))
        if found is None:
            raise build_path_error()
        data, hash = found
        headers = {"etag": f'"{hash}"', "vary": "Accept"}
        if request.query_params.get("hash") == hash:
            expires = format_datetime(self.clock() + _FOREVER, usegmt=True)
            headers |= {"cache-control": "public, immutable", "expires": expires}
        if request.headers.get("if-none-match", "").strip() == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type="application/json", headers=headers)


def _build_routes(path: str, answer: Callable[[Request], Response]) -> list[BaseRoute]:
    endpoint = _build_endpoint(answer)
    # Some clients put a slash at the end.
    paths = [path] if "{path:path}" in path else [path, f"{path}/"]
    return [Route(each, endpoint, methods=METHODS) for each in paths]


def _build_endpoint(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        shown = await asyncio.to_thread(answer, request)  # whether all is well is asked of the engine
        if request.method not in ("GET", "HEAD"):
            raise build_method_error()
        return shown

    return serve


async def _review(request: Request) -> Response:
    """Allow everything, whatever is asked: the body may be one that we cannot read."""
    if request.method != "POST":
        raise build_method_error()
    return Response(encode(_ALLOWED), 201, media_type="application/json")


def _discover(request: Request, groups: Callable[[str], bool], plain: JSON) -> Response:
    aggregated = discovery.find_aggregated(request.headers.get("accept", ""), groups)
    if aggregated is None:
        return _answer(plain)
    media_type, document = aggregated
    return Response(encode(document), headers={"content-type": media_type, "vary": "Accept"})


def _answer(document: JSON | None) -> Response:
    if document is None:
        raise build_path_error()
    return Response(encode(document), media_type="application/json")


def _tell(problems: list[str]) -> Response:
    return PlainTextResponse("\n".join(problems) or "ok", 500 if problems else 200)
