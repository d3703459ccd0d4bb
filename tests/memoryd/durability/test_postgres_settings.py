"""A PostgreSQL that may lose what it confirms is named in the status; `kill -9` would not show it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="no PostgreSQL driver here; install the extras")

import psycopg

from memoryd.postgres.backend import open_postgres
from tests.memoryd.durability.postgres_kills import KilledServer
from tests.memoryd.running import running

HAZARDS = {"fsync": "off", "full_page_writes": "off", "data_sync_retry": "on"}


async def change(killed: KilledServer, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(killed.server.uri, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement)


async def test_a_server_that_does_not_sync_is_named(killed: KilledServer, tmp_path: Path) -> None:
    url = await killed.server.new_database(with_pgvector=False)
    backend = await open_postgres(url)
    status = await backend.status()
    assert (status.durable, status.warnings) == (True, ())
    await backend.close()
    await change(killed, *(f"ALTER SYSTEM SET {name} = {value}" for name, value in HAZARDS.items()))
    await killed.kill()
    await killed.start_again()
    async with running(tmp_path, backend=url) as daemon:
        answer = await daemon.rpc.status()
        assert not answer.durable
        for name, value in HAZARDS.items():
            assert any(f"runs with {name} {value}: " in warning for warning in answer.warnings)
        assert (await daemon.data("GET", "/health"))["durable"] is False
        # A reload reaches the running daemon: the server is asked each time.
        await change(
            killed,
            "ALTER SYSTEM SET fsync = on",
            "ALTER SYSTEM RESET full_page_writes",
            "SELECT pg_reload_conf()",
        )
        async with asyncio.timeout(60):
            while len((await daemon.rpc.status()).warnings) > 1:
                await asyncio.sleep(0.05)
        assert "data_sync_retry" in (await daemon.rpc.status()).warnings[0]
