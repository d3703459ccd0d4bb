"""A whole memoryd inside `async with`: store, engine, both servers, clock and the MCP surface."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Self

from aiohttp import web
from autoresearch.memory.v1.memory_pb2_grpc import add_MemoryServiceServicer_to_server
from prometheus_client import CollectorRegistry

from memoryd.backend import open_backend
from memoryd.composition import build_feed, engine_settings
from memoryd.embedding.embedder import open_embedder
from memoryd.engine import Engine, open_engine
from memoryd.entropy_feed import EntropyFeed
from memoryd.grpc_api import SERVICE_NAME, MemoryServicer
from memoryd.http.api import BODY_LIMIT, FerriculaApi, is_ferricula_path
from memoryd.index_file import IndexFile
from memoryd.settings import MemorydSettings
from memoryd.sqlite.sentinel import Sentinel
from memoryd.store_metrics import StoreCollector
from services.addresses import Address, parse_address
from services.daemon import Servers
from services.errors import ServiceError
from services.lifecycle import wait_for_end


class Daemon(AbstractAsyncContextManager["Daemon"]):
    """Entering raises ConfigurationError and the store's errors; the addresses are known after it."""

    engine: Engine
    grpc_address: Address
    http_address: Address
    mcp_address: Address | None = None

    def __init__(self, settings: MemorydSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def announce(self) -> None:
        """Prints where it serves, for whoever started the daemon."""
        further = {} if self.mcp_address is None else {"mcp": f"http://{self.mcp_address}/mcp"}
        self._servers.announce(**further)

    async def wait(self) -> ServiceError | None:
        """Returns None when a signal came (or the parent ended), the error when the store failed."""
        end = asyncio.create_task(wait_for_end(with_parent=self._settings.exit_with_parent))
        failed = self.engine.store.failed
        tasks: set[asyncio.Future[Any]] = {end, failed}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not failed.done():
            return None
        end.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await end
        return failed.result()

    async def _start(self) -> None:
        settings, stack = self._settings, self._stack
        sentinel = Sentinel.of(settings.backend, settings.sentinel)
        sentinel.check_before_opening(accept_empty=settings.accept_empty_store)
        trust = settings.https_trust()
        backend = await open_backend(settings.backend, read_only=settings.read_only, trust=trust)
        stack.push_async_callback(backend.close)
        await sentinel.check(backend, accept_empty=settings.accept_empty_store)
        token = settings.embedder_token.get_secret_value() if settings.embedder_token else None
        embedder = await open_embedder(settings.embedder, token=token, trust=trust)
        stack.push_async_callback(embedder.close)
        feed = await stack.enter_async_context(build_feed(settings))
        self.engine = await open_engine(
            backend,
            embedder,
            engine_settings(settings),
            feed=feed,
            index_file=IndexFile.of(
                settings.backend, settings.index_snapshot, writable=not settings.read_only
            ),
        )
        self.engine.store.on_first_memory = sentinel.note
        registry = CollectorRegistry()
        registry.register(StoreCollector(self.engine))
        self._servers = self._set_up_servers(feed, registry)
        await stack.enter_async_context(self._servers)
        stack.callback(self.engine.store.end_watches)
        vectors = asyncio.create_task(self.engine.missing_vectors.run())
        stack.callback(vectors.cancel)
        watching = asyncio.create_task(self.engine.store.watch_backend())
        stack.callback(watching.cancel)
        if settings.clock_tick_seconds > 0:
            clock = asyncio.create_task(self.engine.clock.run())
            stack.callback(clock.cancel)
        self.grpc_address, self.http_address = self._servers.grpc.address, self._servers.http.address
        if settings.mcp_listen:
            await self._start_mcp()

    async def _start_mcp(self) -> None:
        from memoryd.mcp_server import McpHttpServer, build_server
        from memoryd.mcp_tools import FerriculaHere, FerriculaHttp

        settings, security = self._settings, self._settings.security()
        radio = None
        if settings.radio_url:
            radio = FerriculaHttp(settings.radio_url, trust=settings.https_trust())
        if radio is not None:
            self._stack.push_async_callback(radio.close)
        here = FerriculaHere(self._api)
        server = build_server(here, surface=settings.mcp_surface, reads_files=False, radio=radio)
        address = parse_address(settings.mcp_listen, name="--mcp-listen")
        served = await self._stack.enter_async_context(McpHttpServer(address, server, security=security))
        self.mcp_address = served.address

    def _set_up_servers(self, feed: EntropyFeed, registry: CollectorRegistry) -> Servers:
        settings = self._settings
        application = web.Application(client_max_size=BODY_LIMIT)
        servers = Servers(
            settings, application, registry, http_open=settings.http_open, is_open_path=is_ferricula_path
        )
        servers.add(add_MemoryServiceServicer_to_server, MemoryServicer(self.engine, feed), SERVICE_NAME)
        self._api = FerriculaApi(
            self.engine,
            feed,
            strict=settings.strict,
            allowed_origins=settings.allow_origin,
            any_origin=settings.http_open,
        )
        self._api.attach(application)
        return servers
