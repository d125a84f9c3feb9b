"""Where training code reports its progress: one path, one method, one token a job.

Answers as upstream's status server does (kubeflow/trainer pkg/statusserver), and checks in its order: size, path and
method, token, body, then what the job's definition says of the report.
"""

import asyncio
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from trainlet.apis.model import Model
from trainlet.apis.trainer import API_VERSION, TRAIN_JOB
from trainlet.kube.errors import ApiError
from trainlet.kube.meta import ObjectKey, format_time, get_metadata, parse_time
from trainlet.planning.status_token import find_token_uid
from trainlet.registry import Registry
from trainlet.server.responses import StatusErrors

PATH = f"/apis/{API_VERSION}/namespaces/{{namespace}}/trainjobs/{{name}}/status"
MOST_BYTES = 1 << 16


def _parse_go_time(text: str) -> str:
    try:
        return format_time(parse_time(text))
    except OverflowError as error:
        raise ValueError(str(error)) from None


_Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
_GO_TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$"
_Time = Annotated[str, Field(pattern=_GO_TIME), AfterValidator(_parse_go_time)]


class _Wire(Model):
    """What Go's decoder makes of JSON: other types are refused, unknown fields are dropped, absent texts are empty."""

    model_config = ConfigDict(strict=True, extra="ignore")


class Metric(_Wire):
    """One metric, its value as text."""

    name: str = ""
    value: str = ""


class TrainerStatus(_Wire):
    """What training code says of itself."""

    progress_percentage: _Int32 | None = None
    estimated_remaining_seconds: _Int32 | None = None
    metrics: Annotated[list[Metric] | None, AfterValidator(lambda metrics: metrics or None)] = None
    last_updated_time: _Time | None = None


class Report(_Wire):
    """The body of a request."""

    trainer_status: TrainerStatus | None = None


def build_status_app(registry: Registry, secret: bytes) -> ASGIApp:
    """Return the application; tokens are those that are derived from the secret."""
    router = Router([Route(PATH, StatusEndpoint(registry, secret))], redirect_slashes=False, default=_find_nothing)
    return StatusErrors(_SizeLimit(router))


class StatusEndpoint:
    """Takes reports. The writing is left to threads: it locks, and waits for the disk."""

    def __init__(self, registry: Registry, secret: bytes) -> None:
        self._registry, self._secret = registry, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request on a job's path."""
        if scope["method"] != "POST":
            await _find_nothing(scope, receive, send)
        request = Request(scope, receive)
        key = ObjectKey(TRAIN_JOB, request.path_params["namespace"], request.path_params["name"])
        await self.serve(request, send, key)

    async def serve(self, request: Request, send: Send, key: ObjectKey, *, is_owner: bool = False) -> None:
        """Take a report on a job; the operator's owner may speak for any. Raises ApiError."""
        header = request.headers.get("authorization", "")
        uid = self._get_uid(key) if is_owner else self._authorize(key, header)
        report = _parse_report(await _read_body(request))
        wire = report.model_dump(by_alias=True, exclude_none=True)
        if report.trainer_status is not None:
            await asyncio.to_thread(self._registry.record_trainer_status, key, uid, wire["trainerStatus"])
        await JSONResponse(wire)(request.scope, request.receive, send)

    def _get_uid(self, key: ObjectKey) -> str:
        job = self._registry.store.get(key)
        if job is None:
            raise ApiError("Train job not found", code=404, reason="NotFound")
        return str(get_metadata(job)["uid"])

    def _authorize(self, key: ObjectKey, header: str) -> str:
        """Return the uid that the caller may speak for. Raises ApiError, also for an earlier job of the name."""
        scheme, _, token = header.strip().partition(" ")
        uid = find_token_uid(self._secret, key.namespace, key.name, token.strip())
        job = self._registry.store.get(key)
        is_another = job is not None and get_metadata(job).get("uid") != uid
        if scheme.lower() != "bearer" or uid is None or is_another:
            raise ApiError("Forbidden", code=403, reason="Forbidden")
        return uid


class _SizeLimit:
    """Refuses a request that is announced as too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if int(Headers(scope=scope).get("content-length", "0")) > MOST_BYTES:
            raise ApiError("Payload too large", code=413, reason="RequestEntityTooLarge")
        await self._app(scope, receive, send)


async def _find_nothing(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI application
    raise ApiError("Not found", code=404, reason="NotFound")


async def _read_body(request: Request) -> bytes:
    """Return the body; of one that nobody announced as too large, no more than shows it."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            break
    return bytes(body)


def _parse_report(body: bytes) -> Report:
    try:
        if len(body) <= MOST_BYTES:
            return Report.model_validate_json(body)
    except ValidationError:
        pass
    raise ApiError("Invalid payload", code=422, reason="Invalid")
