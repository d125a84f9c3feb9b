"""The ASGI application of the API: paths and methods -> discovery, reads, watches and writes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from trainlet.apis.trainer import TRAIN_JOB
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.server.api.documents import Documents
from trainlet.server.api.errors import build_method_error, build_path_error, write_status
from trainlet.server.api.gate import is_owner, is_report
from trainlet.server.api.lists import Lister, Scope
from trainlet.server.api.queries import parse_flag, refuse
from trainlet.server.api.reading import StoreReader
from trainlet.server.api.rendering import Form, Renderer, Style, encode, parse_accept
from trainlet.server.api.requests import (
    Target,
    find_target,
    get_media_type,
    parse_delete,
    parse_object,
    parse_patch,
    parse_write,
    read_body,
)
from trainlet.server.api.selection import parse_selection
from trainlet.server.api.streams import Stream
from trainlet.server.api.types import Writer, Written
from trainlet.server.api.watching import Watcher, parse_watch
from trainlet.server.responses import StatusErrors
from trainlet.server.status_api import StatusEndpoint

_INCLUDES = ("Metadata", "Object", "None")
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Parts:
    """What the application is put together from. `reports` answers what training code posts of its progress."""

    reader: StoreReader
    writer: Writer
    lister: Lister
    watcher: Watcher
    renderer: Renderer
    documents: Documents
    reports: StatusEndpoint
    pod_routes: Sequence[BaseRoute] = ()


def build_app(parts: Parts) -> ASGIApp:
    """Return the application. Who may ask it is judged before."""
    routes = [*parts.pod_routes, *parts.documents.build_routes(), Route("/{path:path}", _Endpoint(parts))]
    return StatusErrors(Router(routes, redirect_slashes=False, default=_find_nothing), write_status)


async def _find_nothing(scope: AsgiScope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI application
    raise build_path_error()


class _Endpoint:
    """Serves the paths of resources."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._handlers: dict[str, Callable[[Request, Target], Awaitable[ASGIApp]]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        target = find_target(scope["path"])
        if target is None:
            raise build_path_error()
        if is_report(scope["method"], target):
            key = ObjectKey(TRAIN_JOB, target.namespace or "", target.name)
            await self._parts.reports.serve(Request(scope, receive), send, key, is_owner=is_owner(scope))
            return
        handler = self._handlers[_find_verb(scope["method"], target)]
        answer = await handler(Request(scope, receive), target)
        await answer(scope, receive, send)

    # Reads

    async def _get(self, request: Request, target: Target) -> ASGIApp:
        parts = self._parts
        shown = await asyncio.to_thread(parts.reader.get, target.resource, target.namespace or "", target.name)
        return _answer(parts.renderer.render(target.resource, shown, _parse_style(request)))

    async def _list(self, request: Request, target: Target) -> ASGIApp:
        parts, query = self._parts, request.query_params
        style, scope = _parse_style(request), _build_scope(request, target)
        if parse_flag(query, "watch"):
            return Stream(parts.watcher.watch(scope, parse_watch(query), style))

        def build() -> bytes:
            page = parts.lister.list(scope, query)
            return encode(parts.renderer.render_list(target.resource, page.objects, page.metadata, style))

        return _Json(await asyncio.to_thread(build))

    # Writes

    async def _create(self, request: Request, target: Target) -> ASGIApp:
        body = parse_object(await read_body(request), _get_type(request))
        options = parse_write(request.query_params, request.headers.get("user-agent", ""))
        written = await asyncio.to_thread(
            self._parts.writer.create, target.resource, target.namespace or "", body, options
        )
        return self._tell(request, target, written)

    async def _update(self, request: Request, target: Target) -> ASGIApp:
        body = parse_object(await read_body(request), _get_type(request))
        options = parse_write(request.query_params, request.headers.get("user-agent", ""), target.subresource)
        written = await asyncio.to_thread(
            self._parts.writer.update, target.resource, target.namespace or "", target.name, body, options
        )
        return self._tell(request, target, written)

    async def _patch(self, request: Request, target: Target) -> ASGIApp:
        type, body = parse_patch(await read_body(request), _get_type(request))
        options = parse_write(request.query_params, request.headers.get("user-agent", ""), target.subresource)
        written = await asyncio.to_thread(
            self._parts.writer.patch, target.resource, target.namespace or "", target.name, type, body, options
        )
        return self._tell(request, target, written)

    async def _delete(self, request: Request, target: Target) -> ASGIApp:
        options = parse_delete(request.query_params, await _read_options(request))
        deleted = await asyncio.to_thread(
            self._parts.writer.delete, target.resource, target.namespace or "", target.name, options
        )
        return _answer(self._parts.reader.show(target.resource, deleted))

    async def _delete_collection(self, request: Request, target: Target) -> ASGIApp:
        options, scope = parse_delete(request.query_params, await _read_options(request)), _build_scope(request, target)
        parts, resource = self._parts, target.resource

        def delete_all() -> list[JSON]:
            page = parts.lister.list(scope, {})
            places = [(each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in page.objects]
            return [parts.reader.show(resource, parts.writer.delete(resource, *place, options)) for place in places]

        deleted = await asyncio.to_thread(delete_all)
        metadata = {"resourceVersion": str(parts.reader.version)}
        return _answer(parts.renderer.render_list(resource, deleted, metadata, Style()))

    def _tell(self, request: Request, target: Target, written: Written) -> ASGIApp:
        shown = self._parts.reader.show(target.resource, written.object)
        shown = self._parts.renderer.render(target.resource, shown, _parse_style(request))
        code = HTTPStatus.CREATED if written.is_new else HTTPStatus.OK
        return _answer(shown, code, written.warnings)


def _find_verb(method: str, target: Target) -> str:
    """Return what a request does to what it names. Raises ApiError (404, 405)."""
    verb = _VERBS.get(method, "")
    if not target.name:
        verb = {"get": "list", "create": "create", "delete": "deletecollection"}.get(verb, "")
    elif verb == "create" or (verb == "delete" and target.subresource):
        verb = ""
    if verb not in target.resource.verbs or (
        verb == "create" and target.resource.is_namespaced and not target.namespace
    ):
        raise build_method_error()
    if target.subresource not in ("", "status"):
        raise build_path_error()
    return verb


def _build_scope(request: Request, target: Target) -> Scope:
    query = request.query_params
    selection = parse_selection(target.resource, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    return Scope(target.resource, target.namespace, selection)


def _parse_style(request: Request) -> Style:
    form, include = parse_accept(request.headers.get("accept", "")), request.query_params.get("includeObject")
    if form is not Form.TABLE or not include:
        return Style(form)
    if include not in _INCLUDES:
        raise refuse(f"includeObject is one of {', '.join(_INCLUDES)}")
    return Style(form, include)


def _get_type(request: Request) -> str:
    return get_media_type(request.headers.get("content-type", ""))


async def _read_options(request: Request) -> JSON:
    body = await read_body(request)
    return parse_object(body, _get_type(request)) if body.strip() else {}


class _Json(Response):
    media_type = "application/json"


def _answer(document: JSON, code: int = HTTPStatus.OK, warnings: Sequence[str] = ()) -> ASGIApp:
    answer = _Json(encode(document), code, headers={"cache-control": "no-cache, private"})
    for each in warnings:
        text = " ".join(each.split()).replace("\\", "\\\\").replace('"', '\\"')
        answer.headers.append("warning", f'299 - "{text.encode("ascii", "replace").decode()}"')
    return answer
