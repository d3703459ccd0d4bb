"""What is special to PostgreSQL: cut connections, a second engine, search in SQL, roles, versions."""

from __future__ import annotations

import asyncio

import numpy as np
import psycopg
import pytest

from memoryd.memory import (
    Batch,
    Edge,
    EdgeKind,
    Emotion,
    Event,
    Memory,
    Record,
    RecordUpdate,
    Row,
    pack_vector,
)
from memoryd.postgres.backend import PostgresBackend, open_postgres
from memoryd.postgres.connection import connect
from memoryd.postgres.durability import wait_for_syncs
from memoryd.retrieval.vector_index import VectorIndex
from memoryd.store_copy import store_digest
from services.errors import ConfigurationError, DataLossError, UnavailableError
from tests.contract.memory_backend import memory
from tests.contract.postgres_server import PostgresServer


async def shows(connection: psycopg.AsyncConnection, setting: str, value: str) -> None:
    """Waits until a session has a setting; a reload reaches it between two of its statements."""
    async with asyncio.timeout(30):
        while (await (await connection.execute(f"SHOW {setting}")).fetchone()) != (value,):
            await asyncio.sleep(0.01)


async def test_cut_connections_lose_and_repeat_nothing(postgres_server: PostgresServer) -> None:
    url = await postgres_server.new_database(with_pgvector=True)
    backend = await open_postgres(url)
    acknowledged: list[int] = []

    async def write(start: int) -> None:
        for number in range(start, start + 40):
            await backend.apply(Batch(puts=(memory(number),), values={f"key/{number}": "x"}))
            acknowledged.append(number)

    writers = [asyncio.create_task(write(start)) for start in (0, 100, 200)]
    for _ in range(6):
        await asyncio.sleep(0.05)
        await postgres_server.end_sessions()
    await asyncio.gather(*writers)
    assert [one.memory_id for one in await backend.scan(-1, 1000)] == sorted(acknowledged)
    assert len(acknowledged) == 120
    await backend.close()


async def test_an_engine_that_was_replaced_stops_writing(postgres_server: PostgresServer) -> None:
    url = await postgres_server.new_database(with_pgvector=False)
    first = await open_postgres(url)
    await first.apply(Batch(puts=(memory(1),)))
    await postgres_server.end_sessions()
    second = await open_postgres(url)
    await second.apply(Batch(puts=(memory(2),)))
    await second.close()
    with pytest.raises(UnavailableError) as caught:
        await first.apply(Batch(puts=(memory(3),)))
    assert caught.value.reason == "STORE_FAILED"
    assert [one.memory_id for one in await first.scan(-1, 10)] == [1, 2]
    await first.close()


@pytest.mark.parametrize("with_pgvector", [True, False], ids=["pgvector", "plain"])
async def test_nearest_in_sql_is_nearest_in_numpy(
    with_pgvector: bool, postgres_server: PostgresServer
) -> None:
    backend = await open_postgres(await postgres_server.new_database(with_pgvector=with_pgvector))
    assert backend.has_pgvector == with_pgvector
    rng = np.random.default_rng(7)
    index = VectorIndex()
    puts = []
    for number in range(300):
        vector = rng.standard_normal(16).astype("<f4")
        index.add(number, vector)
        puts.append(Memory(Row(number, {"text": "x"}, vector.tobytes()), Record(0, 0)))
    puts.append(Memory(Row(1000, {"text": "no vector"}), Record(0, 0)))
    puts.append(Memory(Row(1001, {"text": "zero"}, pack_vector([0.0] * 16)), Record(0, 0)))
    await backend.apply(Batch(puts=tuple(puts)))
    query = rng.standard_normal(16).astype("<f4").tobytes()
    found, expected = await backend.nearest(query, 20), index.nearest_cosine(query, 20)
    assert [one for one, _ in found] == [one for one, _ in expected]
    assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)
    assert await backend.nearest(pack_vector([1.0]), 5) == []
    await backend.close()


async def test_pgvector_that_comes_later_gets_the_stored_vectors(postgres_server: PostgresServer) -> None:
    url = await postgres_server.new_database(with_pgvector=False)
    backend = await open_postgres(url)
    await backend.apply(Batch(puts=(memory(1, vector=(1.0, 0.0)), memory(2, vector=(0.0, 1.0)))))
    await backend.close()
    database = url.split("?")[0].rpartition("/")[2]
    administrator = postgres_server.uri.replace("/postgres?", f"/{database}?")
    async with await psycopg.AsyncConnection.connect(administrator, autocommit=True) as connection:
        await connection.execute("CREATE EXTENSION vector")
    again = await open_postgres(url)
    assert again.has_pgvector
    assert [one for one, _ in await again.nearest(pack_vector([0.1, 1.0]), 1)] == [2]
    await again.close()


async def test_a_dream_over_many_records_is_one_statement(postgres_server: PostgresServer) -> None:
    backend = await open_postgres(await postgres_server.new_database(with_pgvector=True))
    await backend.apply(Batch(puts=tuple(memory(number) for number in range(3000))))
    record = Record(1, 2, fidelity=0.5)
    await backend.apply(Batch(updates=tuple(RecordUpdate(number, record) for number in range(3000))))
    assert {one.record for one in await backend.scan(-1, 5000)} == {record}
    await backend.close()


async def test_a_newer_store_is_refused(postgres_server: PostgresServer) -> None:
    url = await postgres_server.new_database(with_pgvector=False)
    await (await open_postgres(url)).close()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("UPDATE memoryd.schema_version SET version = 99")
    with pytest.raises(ConfigurationError) as caught:
        await open_postgres(url)
    assert caught.value.reason == "STORE_TOO_NEW"


async def test_a_store_of_the_first_version_gets_its_checksums(postgres_server: PostgresServer) -> None:
    url = await postgres_server.new_database(with_pgvector=False)
    backend = await open_postgres(url)
    record = Record(1, 2, 0.1 + 0.2, emotion=Emotion("joy", None), consolidated_from=(4, 5))
    stored = Memory(Row(1, {"text": "naïve \x00 日本"}, pack_vector([0.1, -2.5])), record)
    await backend.apply(
        Batch(
            puts=(stored, *(memory(number) for number in range(2, 1100))),
            connects=(Edge(1, 2, "b'\x00", EdgeKind.CAUSAL, 0.3),),
            values={"identity": "me", "": "empty"},
            events=(Event(1, 2, "remembered", (1,), "x"),),
        )
    )
    digest = await store_digest(backend)
    await backend.close()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for table in ("memory", "edge", "value", "event", "counter"):
            await connection.execute(f"ALTER TABLE memoryd.{table} DROP COLUMN crc")
        await connection.execute("ALTER TABLE memoryd.memory DROP COLUMN record_crc")
        await connection.execute("UPDATE memoryd.schema_version SET version = 1")
    with pytest.raises(ConfigurationError, match="needs a migration"):
        await open_postgres(url, read_only=True)
    again = await open_postgres(url)
    assert await store_digest(again) == digest
    assert (await again.scan(-1, 1)) == [stored]
    assert sorted(await again.scan_values("", 9)) == [("", "empty"), ("identity", "me")]
    assert len(await again.read_events(0, 9)) == 1
    status = await again.status()
    assert (status.highest_id, status.warnings) == (1099, ())
    await again.close()


async def test_a_session_waits_for_syncs_whatever_the_server_defaults_to_later(
    postgres_server: PostgresServer,
) -> None:
    connection = await connect(await postgres_server.new_database(with_pgvector=False))
    async with await psycopg.AsyncConnection.connect(postgres_server.uri, autocommit=True) as administrator:
        assert await wait_for_syncs(connection) is None
        await administrator.execute("ALTER SYSTEM SET synchronous_commit = off")
        await administrator.execute("SELECT pg_reload_conf()")
        try:
            await shows(administrator, "synchronous_commit", "off")
            await shows(connection, "synchronous_commit", "on")
            other = await connect(postgres_server.uri)
            assert await wait_for_syncs(other) is None
            assert await wait_for_syncs(other, "remote_apply") is None
            assert await wait_for_syncs(other) is None
            await shows(other, "synchronous_commit", "remote_apply")
            assert "before it syncs" in (await wait_for_syncs(other, "off") or "")
            await other.close()
        finally:
            await administrator.execute("ALTER SYSTEM RESET synchronous_commit")
            await administrator.execute("SELECT pg_reload_conf()")
    await connection.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "UTF8"])
async def test_bytes_that_are_no_text_any_more_are_set_aside(
    encoding: str, postgres_server: PostgresServer
) -> None:
    """The server refuses to convert them; without a conversion they come as they are."""
    name = f"memory_{encoding.lower()}"
    url = postgres_server.uri.replace("/postgres?", f"/{name}?")
    broken = "convert_from('\\xff', 'SQL_ASCII')"
    async with await psycopg.AsyncConnection.connect(postgres_server.uri, autocommit=True) as administrator:
        await administrator.execute(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        )
        backend = await open_postgres(url)
        await backend.apply(Batch(puts=tuple(memory(number) for number in range(1, 6))))
        await backend.apply(Batch(values={"mood": "1"}))
        await backend.close()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"UPDATE memoryd.memory SET tags = tags || {broken} WHERE id IN (2, 3)")
            await connection.execute(f"UPDATE memoryd.value SET text = text || {broken}")
        await administrator.execute(
            "UPDATE pg_database SET encoding = pg_char_to_encoding(%s) WHERE datname = %s", (encoding, name)
        )
    backend = await open_postgres(url)
    assert [one.memory_id for one in await backend.scan(-1, 2)] == [1, 4]
    assert [one.memory_id for one in await backend.scan(-1, 9)] == [1, 4, 5]
    with pytest.raises(DataLossError, match="damaged text"):
        await backend.read_value("mood")
    assert "memory 2, memory 3" in " ".join((await backend.status()).warnings)
    await backend.close()


async def test_a_role_that_may_not_create_the_schema_is_told_what_to_do(
    postgres_server: PostgresServer,
) -> None:
    url = await postgres_server.new_database(with_pgvector=False)
    database = url.split("?")[0].rpartition("/")[2]
    administrator = postgres_server.uri.replace("/postgres?", f"/{database}?")
    async with await psycopg.AsyncConnection.connect(administrator, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA memoryd")
    with pytest.raises(ConfigurationError, match="CREATE SCHEMA memoryd AUTHORIZATION"):
        await open_postgres(url)


async def test_a_closed_store_refuses(postgres_server: PostgresServer) -> None:
    backend: PostgresBackend = await open_postgres(await postgres_server.new_database(with_pgvector=False))
    await backend.close()
    with pytest.raises(UnavailableError):
        await backend.scan(-1, 1)
