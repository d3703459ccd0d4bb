"""A PostgreSQL store: one locked connection writes, a small pool reads.

Vectors stand as float32 bytes; where pgvector is there they also stand in a column of its type, so that
`nearest` and other readers of the database can search in SQL.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg

from memoryd.backend import EVERY_CAPABILITY, BackendStatus, BackupResult, Capability, MemoryBackend
from memoryd.memory import Batch, Edge, Event, Memory
from memoryd.postgres.connection import ANSWER_SECONDS, SESSION, WriterLock, connect, place_of
from memoryd.postgres.rows import (
    MEMORY_COLUMNS,
    quoted,
    read_edge_columns,
    read_event_columns,
    read_memory_columns,
    unquoted,
    vector_text,
)
from memoryd.postgres.schema import prepare_schema
from memoryd.postgres.writer import PostgresWriter, explain
from memoryd.retrieval.vector_index import VectorIndex
from memoryd.store_copy import copy_to_file
from services.errors import FailedPreconditionError, ServiceError, UnavailableError

READERS = 4


class PostgresBackend:
    def __init__(self, pool: Any, writer: PostgresWriter | None, place: str, *, has_pgvector: bool) -> None:
        self._pool = pool
        self._writer = writer
        self._place = place
        self._closed = False
        self.has_pgvector = has_pgvector

    @property
    def capabilities(self) -> frozenset[Capability]:
        return EVERY_CAPABILITY

    async def apply(self, batch: Batch) -> None:
        if self._writer is None:
            raise FailedPreconditionError(
                f"the store {self._place} was opened read-only", reason="STORE_READ_ONLY"
            )
        await self._writer.submit(batch)

    async def scan(self, after_id: int, limit: int) -> list[Memory]:
        rows = await self._read(
            f"SELECT {MEMORY_COLUMNS} FROM memoryd.memory WHERE id > %s ORDER BY id LIMIT %s", after_id, limit
        )
        return [read_memory_columns(columns) for columns in rows]

    async def scan_edges(self, after_pair: tuple[int, int], limit: int) -> list[Edge]:
        rows = await self._read(
            "SELECT source, target, label, kind, weight FROM memoryd.edge WHERE (low, high) > (%s, %s)"
            " ORDER BY low, high LIMIT %s",
            *after_pair,
            limit,
        )
        return [read_edge_columns(columns) for columns in rows]

    async def read_value(self, name: str) -> str | None:
        rows = await self._read("SELECT text FROM memoryd.value WHERE name = %s", quoted(name))
        return unquoted(rows[0][0]) if rows else None

    async def scan_values(self, after_name: str, limit: int) -> list[tuple[str, str]]:
        """Named values after a name; see ValueLister."""
        rows = await self._read(
            'SELECT name, text FROM memoryd.value WHERE name COLLATE "C" > %s'
            ' ORDER BY name COLLATE "C" LIMIT %s',
            quoted(after_name) if after_name else "",
            limit,
        )
        return [(unquoted(name) or "", unquoted(text) or "") for name, text in rows]

    async def read_events(self, after_sequence: int, limit: int) -> list[Event]:
        rows = await self._read(
            "SELECT sequence, time_ms, kind, ids, detail FROM memoryd.event WHERE sequence > %s"
            " ORDER BY sequence LIMIT %s",
            after_sequence,
            limit,
        )
        return [read_event_columns(columns) for columns in rows]

    async def status(self) -> BackendStatus:
        row = (
            await self._read(
                "SELECT (SELECT count(*) FROM memoryd.memory), (SELECT count(*) FROM memoryd.edge),"
                " (SELECT amount FROM memoryd.counter WHERE name = 'highest_id'),"
                " (SELECT coalesce(max(sequence), 0) FROM memoryd.event), current_setting('fsync'),"
                " current_setting('synchronous_commit')"
            )
        )[0]
        warnings = [] if self._writer is not None else ["the store is read-only"]
        if row[4] != "on":
            warnings.append("the database runs with fsync off: a power cut can lose acknowledged memories")
        if row[5] in ("off", "local") and self._writer is None:
            warnings.append("the database confirms before it syncs (synchronous_commit)")
        return BackendStatus(self._place, row[0], row[1], row[2], row[3], tuple(warnings))

    async def backup(self, path: Path) -> BackupResult:
        """A SQLite store of the same content, as of one moment."""
        async with self._borrow() as connection:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                snapshot = PostgresBackend(_OneConnection(connection), None, self._place, has_pgvector=False)
                return await copy_to_file(snapshot, path)
            finally:
                await connection.execute("ROLLBACK")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._writer is not None:
            await self._writer.stop()
        await self._pool.close()

    async def nearest(self, vector: bytes, count: int) -> list[tuple[int, float]]:
        """(memory id, cosine) of the nearest stored vectors, best first; zero vectors are left out.

        Exact: in SQL with pgvector, by numpy over the stored bytes without.
        """
        if self.has_pgvector:
            text = vector_text(vector)
            rows = await self._read(
                "SELECT id, 1 - (embedding <=> %s::vector) FROM memoryd.memory WHERE embedding IS NOT NULL"
                " AND vector_norm(embedding) > 0 AND vector_dims(embedding) = vector_dims(%s::vector)"
                " ORDER BY embedding <=> %s::vector, id LIMIT %s",
                text,
                text,
                text,
                count,
            )
            return [(int(memory_id), float(cosine)) for memory_id, cosine in rows]
        rows = await self._read(
            "SELECT id, vector FROM memoryd.memory WHERE octet_length(vector) = %s", len(vector)
        )

        def search() -> list[tuple[int, float]]:
            index = VectorIndex()
            for memory_id, stored in rows:
                if any(stored):
                    index.add(memory_id, bytes(stored))
            return index.nearest_cosine(vector, count)

        return await asyncio.to_thread(search)

    async def _read(self, sql: str, *values: object) -> list[Any]:
        async with self._borrow() as connection:
            cursor = await connection.execute(sql, values)
            result: list[Any] = await cursor.fetchall()
            return result

    @contextlib.asynccontextmanager
    async def _borrow(self) -> AsyncIterator[Any]:
        if self._closed:
            raise UnavailableError("the store is closed", reason="STORE_UNREACHABLE")
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.Error, OSError) as error:
            raise explain(error) from error


class _OneConnection:
    """A pool of one borrowed connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        yield self._connection

    async def close(self) -> None:
        return None


async def open_postgres(
    url: str, *, read_only: bool = False, synchronous_commit: str = ""
) -> PostgresBackend:
    """Opens or creates the store in the schema `memoryd` of the database that `url` names.

    `synchronous_commit` is for fault injection: without it commits wait for the sync.
    Raises ConfigurationError for a wrong URL, a newer store or one that another memoryd writes to, and
    UnavailableError when the server does not answer in 5 s.
    """
    from psycopg_pool import AsyncConnectionPool

    place = place_of(url)
    lock = WriterLock(url, place, synchronous_commit)
    try:
        connection = await (lock.open_first() if not read_only else connect(url))
        try:
            has_pgvector = await prepare_schema(connection, place, writable=not read_only)
            await lock.raise_epoch(connection, read_only)
        except BaseException:
            await connection.close()
            raise
    except (psycopg.Error, OSError) as error:
        raise _explain_opening(error, place) from error
    writer = None
    if read_only:
        await connection.close()
    else:
        writer = PostgresWriter(lock.reopen, has_pgvector=has_pgvector)
        await connection.set_autocommit(False)
        writer.use(connection)
    pool = AsyncConnectionPool(
        url,
        min_size=0,
        max_size=READERS,
        timeout=ANSWER_SECONDS,
        open=False,
        kwargs={"autocommit": True, "connect_timeout": int(ANSWER_SECONDS)},
        configure=_configure,
        check=AsyncConnectionPool.check_connection,
    )
    await pool.open()
    return PostgresBackend(pool, writer, place, has_pgvector=has_pgvector)


async def _configure(connection: Any) -> None:
    await connection.execute(SESSION)


def _explain_opening(error: Exception, place: str) -> ServiceError:
    explained = explain(error)
    if explained.reason == "STORE_UNREACHABLE":
        return UnavailableError(
            f"--backend: {place} does not answer: {explained.message}", reason="STORE_UNREACHABLE"
        )
    return explained


_: type[MemoryBackend] = PostgresBackend
