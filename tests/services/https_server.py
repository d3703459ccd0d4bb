"""A real https server whose certificate a private authority has signed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from services.security import ServerSecurity


@asynccontextmanager
async def https_server(
    security: ServerSecurity, answer: dict[str, object] | None = None
) -> AsyncIterator[int]:
    """The port of a server that gives one JSON answer to everything."""

    async def handle(request: web.Request) -> web.Response:
        return web.json_response(answer or {})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=security.ssl_context()).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
