"""Answers as an API server gives them: JSON, and a Status object for everything that is refused."""

import logging
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from trainlet.kube.errors import ApiError, TrainletError
from trainlet.kube.meta import JSON

log = logging.getLogger(__name__)


class StatusErrors:
    """Turns what an application raises into an answer; what is our own fault goes to the log and not to the client."""

    def __init__(self, app: ASGIApp, write: Callable[[ApiError], JSON] | None = None) -> None:
        self._app, self._write = app, write or build_status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            await self._app(scope, receive, send)
            return
        except ClientDisconnect:
            return
        except ApiError as error:
            refusal = error
        except TrainletError as error:
            log.warning("%r: %s", scope["path"], error)
            refusal = build_internal_error()
        except Exception:
            log.exception("%r: this is a bug of trainlet", scope["path"])
            refusal = build_internal_error()
        status = self._write(refusal)
        seconds = status.get("details", {}).get("retryAfterSeconds")
        answer = JSONResponse(status, refusal.code, {"retry-after": str(seconds)} if seconds else None)
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(answer)
        else:
            await answer(scope, receive, send)


def build_status(error: ApiError) -> JSON:
    """Return the metav1.Status of a refusal."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.what,
        "reason": error.reason,
        "code": error.code,
    }


def build_internal_error() -> ApiError:
    """Return what a client is told of an error that is not its own."""
    return ApiError("Internal error", code=500, reason="InternalError")
