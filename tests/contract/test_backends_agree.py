"""Random histories give equal answers on every pair of backends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from memoryd.backend import Capability, MemoryBackend, open_backend
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
    State,
    pack_vector,
)
from memoryd.postgres.counters import HIGHEST_ID, write_counter
from memoryd.store_copy import store_digest
from tests.contract.ferricula_server import serve_ferricula
from tests.contract.memory_backend import edges_after
from tests.contract.postgres_server import PostgresServer

ids = st.integers(0, 9) | st.just(2**32 - 1)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
times = st.integers(0, 2**33)
records = st.builds(
    Record,
    created_at=times,
    last_recalled=times,
    fidelity=st.floats(0, 1),
    decay_alpha=st.floats(0.001, 0.02),
    state=st.sampled_from(State),
    keystone=st.booleans(),
    recall_count=st.integers(0, 2**40),
    consolidation_depth=st.integers(0, 100),
    importance=st.floats(-1e6, 1e6),
    emotion=st.none() | st.builds(Emotion, texts, st.none() | texts),
    consolidated_from=st.lists(ids, max_size=3).map(tuple),
)
vectors = st.just(b"") | st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3).map(pack_vector)
memories = st.builds(Memory, st.builds(Row, ids, st.dictionaries(texts, texts, max_size=3), vectors), records)
edges = st.builds(Edge, ids, ids, texts, st.sampled_from(EdgeKind), st.floats(0, 1))
batches = st.builds(
    Batch,
    deletes=st.lists(ids, max_size=2).map(tuple),
    puts=st.lists(memories, max_size=3).map(tuple),
    updates=st.lists(st.builds(RecordUpdate, ids, records), max_size=3).map(tuple),
    disconnects=st.lists(st.tuples(ids, ids), max_size=2).map(tuple),
    connects=st.lists(edges, max_size=3).map(tuple),
    values=st.dictionaries(texts.filter(bool), st.none() | texts, max_size=2),
    events=st.lists(
        st.builds(Event, st.integers(1, 50), times, texts, st.lists(ids, max_size=2).map(tuple), texts),
        max_size=2,
    ).map(tuple),
)


async def full_picture(backend: MemoryBackend, names: Sequence[str]) -> tuple[object, ...]:
    status = await backend.status()
    return (
        await store_digest(backend),
        await edges_after(backend),
        [await backend.read_value(name) for name in names],
        await backend.read_events(0, 100),
        (status.row_count, status.edge_count, status.highest_id, status.last_sequence),
    )


async def compare(first: MemoryBackend, second: MemoryBackend, history: Sequence[Batch]) -> None:
    names = sorted({name for batch in history for name in batch.values})
    for batch in history:
        await first.apply(batch)
        await second.apply(batch)
        assert await full_picture(first, names) == await full_picture(second, names)


@pytest.mark.parametrize("with_pgvector", [True, False], ids=["pgvector", "plain"])
def test_sqlite_and_postgres_agree(
    with_pgvector: bool, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """The same histories each time: what is found once stays found. New ones are for the night."""
    compare_with_postgres(with_pgvector, tmp_path, postgres_server, examples=30, derandomize=True)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_sqlite_and_postgres_agree_on_new_histories(tmp_path: Path, postgres_server: PostgresServer) -> None:
    compare_with_postgres(False, tmp_path, postgres_server, examples=1000, derandomize=False)


def compare_with_postgres(
    with_pgvector: bool, tmp_path: Path, postgres_server: PostgresServer, *, examples: int, derandomize: bool
) -> None:
    with asyncio.Runner() as runner:
        url = runner.run(postgres_server.new_database(with_pgvector=with_pgvector))
        postgres = runner.run(open_backend(url))
        sqlite = runner.run(open_backend(f"sqlite:///{tmp_path / 'memory.db'}"))

        async def empty() -> None:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await connection.execute(
                    "TRUNCATE memoryd.memory, memoryd.edge, memoryd.value, memoryd.event"
                )
                await write_counter(connection, HIGHEST_ID, 0)

        @settings(
            max_examples=examples,
            derandomize=derandomize,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(st.lists(batches, min_size=1, max_size=4))
        def agree(history: list[Batch]) -> None:
            runner.run(empty())
            for path in tmp_path.glob("case.db*"):
                path.unlink()
            fresh = runner.run(open_backend(f"sqlite:///{tmp_path / 'case.db'}"))
            try:
                runner.run(compare(fresh, postgres, history))
            finally:
                runner.run(fresh.close())

        agree()
        runner.run(postgres.close())
        runner.run(sqlite.close())


def shown_alike(batch: Batch) -> Batch:
    """The history as far as ferricula's API can carry it: fresh records, unit weights, no free labels."""
    fresh = Record(0, 0)
    puts = {memory.memory_id: Memory(replace(memory.row, vector=b""), fresh) for memory in batch.puts}
    connects = tuple(
        replace(edge, label="next", weight=1.0) for edge in batch.connects if not _dangling(edge)
    )
    return Batch(
        deletes=batch.deletes, puts=tuple(puts.values()), disconnects=batch.disconnects, connects=connects
    )


def _dangling(edge: Edge) -> bool:
    return edge.source > 9 or edge.target > 9


async def seen_by_both(backend: MemoryBackend) -> tuple[object, ...]:
    assert Capability.BACKUP not in backend.capabilities or await backend.status()
    rows = [(memory.memory_id, dict(memory.row.tags)) for memory in await backend.scan(-1, 100)]
    known = {memory_id for memory_id, _ in rows}
    # An edge between ids that no row has cannot be found through the HTTP API.
    return rows, [edge for edge in await edges_after(backend) if known & set(edge.pair)]


def test_sqlite_and_a_remote_ferricula_agree(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:

        async def run(history: list[Batch], number: int) -> None:
            async with serve_ferricula(tmp_path / f"remote{number}.db") as address:
                remote = await open_backend(f"ferricula+http://{address}")
                local = await open_backend(f"sqlite:///{tmp_path / f'local{number}.db'}")
                for batch in map(shown_alike, history):
                    await local.apply(batch)
                    await remote.apply(batch)
                    assert await seen_by_both(local) == await seen_by_both(remote)
                await remote.close()
                await local.close()

        numbers = iter(range(10**6))

        @settings(
            max_examples=12,
            derandomize=True,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(st.lists(batches, min_size=1, max_size=4))
        def agree(history: list[Batch]) -> None:
            runner.run(run(history, next(numbers)))

        agree()
