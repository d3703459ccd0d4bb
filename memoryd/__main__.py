"""The composition root of memoryd."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web
from autoresearch.memory.v1.memory_pb2_grpc import add_MemoryServiceServicer_to_server
from prometheus_client import CollectorRegistry

from memoryd.backend import open_backend
from memoryd.composition import build_feed, engine_settings
from memoryd.embedding import open_embedder
from memoryd.engine import open_engine
from memoryd.grpc_api import SERVICE_NAME, MemoryServicer
from memoryd.http_api import BODY_LIMIT, FerriculaApi, is_ferricula_path
from memoryd.sentinel import Sentinel
from memoryd.settings import MemorydSettings, with_ferricula_ports
from memoryd.store import Store
from services.addresses import parse_address
from services.call_observer import CallObserver
from services.errors import ConfigurationError, ServiceError
from services.http_server import HttpServer
from services.lifecycle import announce, wait_for_end
from services.logs import configure_logs
from services.rpc_server import GrpcServer
from services.settings import load_settings, run_main

log = logging.getLogger("memoryd")


async def serve(settings: MemorydSettings) -> int:
    """Runs the daemon until it is told to end; 1 when the store failed under it."""
    security = settings.security()
    async with AsyncExitStack() as stack:
        sentinel = Sentinel.of(settings.backend, settings.sentinel)
        sentinel.check_before_opening(accept_empty=settings.accept_empty_store)
        backend = await open_backend(settings.backend, read_only=settings.read_only)
        stack.push_async_callback(backend.close)
        await sentinel.check(backend, accept_empty=settings.accept_empty_store)
        token = settings.embedder_token.get_secret_value() if settings.embedder_token else None
        embedder = await open_embedder(settings.embedder, token=token)
        stack.push_async_callback(embedder.close)
        feed = await stack.enter_async_context(build_feed(settings))
        engine = await open_engine(backend, embedder, engine_settings(settings), feed=feed)
        engine.store.on_first_memory = sentinel.note
        registry = CollectorRegistry()
        application = web.Application(client_max_size=BODY_LIMIT)
        http = HttpServer(
            parse_address(settings.http_listen, name="--http-listen"),
            application,
            security=security,
            registry=registry,
            http_open=settings.http_open,
            is_open_path=is_ferricula_path,
        )
        FerriculaApi(
            engine,
            feed,
            strict=settings.strict,
            allowed_origins=settings.allow_origin,
            any_origin=settings.http_open,
        ).attach(application)
        server = GrpcServer(
            parse_address(settings.listen, name="--listen"),
            security=security,
            observer=CallObserver(registry),
            with_reflection=settings.reflection,
            drain_seconds=settings.drain_seconds,
        )
        server.add(add_MemoryServiceServicer_to_server, MemoryServicer(engine, feed), SERVICE_NAME)
        await stack.enter_async_context(http)
        await stack.enter_async_context(server)
        if settings.clock_tick_seconds > 0:
            clock = asyncio.create_task(engine.clock.run())
            stack.callback(clock.cancel)
        announce("memoryd", {"grpc": str(server.address), "http": str(http.address)})
        return await wait_for_end_or_failure(engine.store, with_parent=settings.exit_with_parent)


async def wait_for_end_or_failure(store: Store, *, with_parent: bool) -> int:
    """0 when the daemon was told to end, 1 when its store failed."""
    end = asyncio.create_task(wait_for_end(with_parent=with_parent))
    failed = asyncio.ensure_future(store.failed)
    tasks: set[asyncio.Future[Any]] = {end, failed}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if not failed.done():
        return 0
    end.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await end
    log.error("the store failed: %s", failed.result())
    return 1


def run(arguments: Sequence[str]) -> int:
    """The daemon. Raises ConfigurationError for what keeps it from starting."""
    settings = with_ferricula_ports(load_settings(MemorydSettings, arguments))
    configure_logs("memoryd", settings.log_level)
    try:
        return asyncio.run(serve(settings))
    except ConfigurationError:
        raise
    except ServiceError as error:
        raise ConfigurationError(error.message) from error


def main() -> None:
    """Console script `memoryd`."""
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
