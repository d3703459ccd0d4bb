"""Runs the HTTP side of a daemon with aiohttp: /metrics, /healthz and the daemon's own routes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from services.addresses import Address
from services.errors import ConfigurationError
from services.http_errors import error_middleware
from services.security import ServerSecurity, refuse_open_listen

OPEN_PATHS = frozenset({"/healthz", "/health"})


class HttpServer(AbstractAsyncContextManager["HttpServer"]):
    """Serves an application inside `async with`. The bearer token is demanded where one is set, except
    on health paths and on paths that `is_open_path` accepts (the compatible routes under --http-open).

    With `http_open` the address may lie beyond loopback without credentials; every path that
    `is_open_path` does not accept then answers 401 to other machines.
    """

    def __init__(
        self,
        address: Address,
        application: web.Application,
        *,
        security: ServerSecurity,
        registry: CollectorRegistry,
        http_open: bool = False,
        is_open_path: Callable[[web.Request], bool] = lambda request: False,
        health: Callable[[], dict[str, object]] = lambda: {"status": "ok"},
    ) -> None:
        if not http_open:
            refuse_open_listen(address, security, flag="--http-listen")
        self._wanted = address
        self._security = security
        self._registry = registry
        self._http_open = http_open
        self._is_open_path = is_open_path
        self._health = health
        self._application = application
        for middleware in reversed(self._middlewares()):
            application.middlewares.insert(0, middleware)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._healthz)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=5)
        self.address = address

    def _middlewares(self) -> list[Middleware]:
        @web.middleware
        async def demand_token(request: web.Request, handler: Handler) -> web.StreamResponse:
            free = request.path in OPEN_PATHS or (self._http_open and self._is_open_path(request))
            if free or self._allowed(request):
                return await handler(request)
            return web.json_response(
                {"error": "a bearer token is required", "reason": "BAD_CREDENTIAL"}, status=401
            )

        return [error_middleware, demand_token]

    def _allowed(self, request: web.Request) -> bool:
        if self._security.token is None:
            if self._security.client_ca is not None:
                return True  # the connection has shown its certificate
            # Open beyond loopback without a token (--http-open): other routes stay local.
            return self._wanted.is_loopback or request.remote in ("127.0.0.1", "::1")
        return self._security.accepts(request.headers.get("Authorization"))

    async def _metrics(self, request: web.Request) -> web.Response:
        # Whoever asks for OpenMetrics gets exemplars, which carry trace ids.
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response(self._health())

    async def __aenter__(self) -> Self:
        context = self._security.ssl_context()
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._wanted.host, self._wanted.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            why = "the port is taken" if error.errno == errno.EADDRINUSE else str(error.strerror or error)
            raise ConfigurationError(
                f"--http-listen: cannot bind {self._wanted}: {why}; choose another or port 0"
            ) from error
        host, port = self._runner.addresses[0][:2]
        self.address = Address(self._wanted.host if self._wanted.host else host, port)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()
