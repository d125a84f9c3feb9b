"""An answer that goes on: frames as they come, until they or the client end."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope, Send


class Stream:
    """An ASGI answer of frames, of JSON or another type. Its head is sent at once, whenever the first frame comes."""

    def __init__(self, frames: AsyncIterator[bytes], media_type: str = "application/json") -> None:
        self._frames, self._media_type = frames, media_type.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI application
        """Send all frames."""
        headers = [(b"content-type", self._media_type), (b"cache-control", b"no-cache, private")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sending, leaving = asyncio.create_task(self._send_all(send)), asyncio.create_task(_await_leave(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()  # raises what it has raised
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait((sending, leaving))

    async def _send_all(self, send: Send) -> None:
        async for frame in self._frames:
            if frame:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _await_leave(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
