"""memoryd's own ferricula API on a free port, over a SQLite store: the remote of the ferricula backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry

from memoryd.embedding.embedder import NoEmbedder
from memoryd.engine import open_engine
from memoryd.entropy_feed import FirstFeed
from memoryd.http.api import BODY_LIMIT, FerriculaApi, is_ferricula_path
from memoryd.sqlite.backend import open_sqlite
from services.addresses import parse_address
from services.http_server import HttpServer
from services.security import ServerSecurity


@asynccontextmanager
async def serve_ferricula(path: Path, *, token: str | None = None) -> AsyncIterator[str]:
    """The server's HOST:PORT."""
    backend = await open_sqlite(f"sqlite:///{path}")
    feed = FirstFeed()
    engine = await open_engine(backend, NoEmbedder(), feed=feed)
    application = web.Application(client_max_size=BODY_LIMIT)
    FerriculaApi(engine, feed, strict=False, allowed_origins=[], any_origin=False).attach(application)
    http = HttpServer(
        parse_address("127.0.0.1:0", name="--http-listen"),
        application,
        security=ServerSecurity(token, None, None, None),
        registry=CollectorRegistry(),
        http_open=False,
        is_open_path=is_ferricula_path,
    )
    async with http:
        yield str(http.address)
    await backend.close()
