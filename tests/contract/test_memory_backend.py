"""The MemoryBackend contract over SQLite, PostgreSQL with and without pgvector, and a remote ferricula."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import psycopg
import pytest

from memoryd.backend import MemoryBackend, open_backend
from services.errors import ConfigurationError, UnauthenticatedError, UnavailableError
from tests.contract.ferricula_server import serve_ferricula
from tests.contract.memory_backend import CONTRACT, Check, memory

BACKENDS = ("sqlite", "postgres-pgvector", "postgres-plain", "ferricula")


@dataclass(frozen=True)
class UrlPlace:
    url: str

    async def open(self, *, read_only: bool = False) -> MemoryBackend:
        return await open_backend(self.url, read_only=read_only)

    async def change(self, *statements: str) -> bool:
        if self.url.startswith("sqlite:///"):
            with contextlib.closing(apsw.Connection(self.url.removeprefix("sqlite:///"))) as file:
                for statement in statements:
                    file.execute(statement)
            return True
        if not self.url.startswith("postgresql://"):
            return False
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            await connection.execute("SET search_path = memoryd")
            for statement in statements:  # a record stands in the row of its memory here
                await connection.execute(statement.replace("UPDATE record", "UPDATE memory"))
        return True


@asynccontextmanager
async def make_place(kind: str, folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[UrlPlace]:
    if kind == "sqlite":
        yield UrlPlace(f"sqlite:///{folder / 'store' / 'memory.db'}")
    elif kind == "ferricula":
        async with serve_ferricula(folder / "remote.db", token="a-token-of-forty-two") as address:
            yield UrlPlace(f"ferricula+http://:a-token-of-forty-two@{address}")
    else:
        server = request.getfixturevalue("postgres_server")
        yield UrlPlace(await server.new_database(with_pgvector=kind == "postgres-pgvector"))


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", BACKENDS)
async def test_contract(kind: str, check: Check, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async with make_place(kind, tmp_path, request) as place:
        await check(place, tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://x",
        "memory.db",
        "sqlite:memory.db",
        "ferricula+http://",
        "ferricula+http://h:x",
        "ferricula+http://h/p",
        "postgresql://h:x/y",
        "",
    ],
)
async def test_a_wrong_url_is_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--backend"):
        await open_backend(url)


@pytest.mark.parametrize(
    "scheme", ["postgresql://me:secret@127.0.0.1:1/db", "ferricula+http://:secret@127.0.0.1:1"]
)
async def test_a_server_that_is_not_there_is_unreachable(scheme: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        await open_backend(scheme)
    assert caught.value.reason == "STORE_UNREACHABLE"
    assert "secret" not in caught.value.message


async def test_a_remote_that_wants_a_token_says_so(tmp_path: Path) -> None:
    async with serve_ferricula(tmp_path / "remote.db", token="a-token-of-forty-two") as address:
        with pytest.raises(UnauthenticatedError, match="TOKEN@HOST"):
            await open_backend(f"ferricula+http://{address}")


async def test_a_keystone_mark_reaches_the_remote(tmp_path: Path) -> None:
    from dataclasses import replace

    from memoryd.memory import Batch, RecordUpdate

    async with serve_ferricula(tmp_path / "remote.db") as address:
        backend = await open_backend(f"ferricula+http://{address}")
        await backend.apply(Batch(puts=(memory(1),)))
        marked = replace(memory(1).record, keystone=True)
        for _ in range(2):  # the route toggles: sending the mark again must not clear it
            await backend.apply(Batch(updates=(RecordUpdate(1, marked),)))
        assert (await backend.scan(-1, 1))[0].record.keystone
        await backend.close()


async def test_a_stranger_behind_the_url_is_told_apart(tmp_path: Path) -> None:
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"result": "hello"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with pytest.raises(UnavailableError, match="does not answer as a ferricula"):
        await open_backend(f"ferricula+http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()
