"""What answers over HTTP. The only place that knows asyncio, starlette and uvicorn."""
