"""What the four daemons do alike: from the command line to a serving process, with both of its servers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self, TypedDict, Unpack

from aiohttp import web
from prometheus_client import CollectorRegistry

from services.addresses import parse_address
from services.call_observer import CallObserver
from services.http_server import HttpServer
from services.lifecycle import announce, wait_for_end
from services.logs import configure_logs
from services.rpc_server import GrpcServer
from services.settings import DaemonSettings, SettingsT, load_settings
from services.tracing import tracing


def run_daemon(
    kind: type[SettingsT], arguments: Sequence[str], serve: Callable[[SettingsT], Awaitable[int | None]]
) -> int:
    """Reads the settings, configures logs and traces, and runs `serve` to its end; the exit code.

    Raises ConfigurationError.
    """
    settings = load_settings(kind, arguments)
    configure_logs(kind.daemon_name, settings.log_level)

    async def main() -> int | None:
        return await serve(settings)

    with tracing(kind.daemon_name, os.environ):  # noqa: TID251 - the names are OpenTelemetry's own
        return asyncio.run(main()) or 0


class HttpOptions(TypedDict, total=False):
    """What a daemon with routes for clients without credentials tells HttpServer besides."""

    http_open: bool
    is_open_path: Callable[[web.Request], bool]
    health: Callable[[], dict[str, object]]


class Servers(AbstractAsyncContextManager["Servers"]):
    """A daemon's gRPC and HTTP server, set up from its settings and serving inside `async with`.

    `add` servicers before entering. gRPC comes up last and goes down first, drained within `drain_seconds`
    (the setting, where None). Entering raises ConfigurationError; `http_options` are HttpServer's.
    """

    def __init__(
        self,
        settings: DaemonSettings,
        application: web.Application,
        registry: CollectorRegistry,
        *,
        drain_seconds: float | None = None,
        **http_options: Unpack[HttpOptions],
    ) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        security = settings.security()
        self.http = HttpServer(
            parse_address(settings.http_listen, name="--http-listen"),
            application,
            security=security,
            registry=registry,
            **http_options,
        )
        self.grpc = GrpcServer(
            parse_address(settings.listen, name="--listen"),
            security=security,
            observer=CallObserver(registry),
            with_reflection=settings.reflection,
            drain_seconds=settings.drain_seconds if drain_seconds is None else drain_seconds,
        )
        self.add = self.grpc.add

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.http)
            await stack.enter_async_context(self.grpc)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def announce(self, **further: str) -> None:
        """Prints where it serves, for whoever started the daemon."""
        addresses = {"grpc": str(self.grpc.address), "http": str(self.http.address)}
        announce(self._settings.daemon_name, addresses | further)

    async def serve_until_end(self) -> str:
        """Announces the addresses, then returns when a signal came or the parent ended."""
        self.announce()
        return await wait_for_end(with_parent=self._settings.exit_with_parent)
