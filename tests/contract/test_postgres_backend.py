"""What is special to PostgreSQL: cut connections, a second engine, search in SQL, roles, versions."""

from __future__ import annotations

import asyncio

import numpy as np
import psycopg
import pytest

from memoryd.memory import Batch, Memory, Record, RecordUpdate, Row, pack_vector
from memoryd.postgres.backend import PostgresBackend, open_postgres
from memoryd.retrieval.vector_index import VectorIndex
from services.errors import ConfigurationError, UnavailableError
from tests.contract.memory_backend import memory
from tests.contract.postgres_server import PostgresServer


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
