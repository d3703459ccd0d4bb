"""A PostgreSQL store: one locked connection writes, a small pool reads.

Vectors stand as float32 bytes; where pgvector is there they also stand in a column of its type, so that
`nearest` and other readers of the database can search in SQL.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from memoryd.backend import EVERY_CAPABILITY, BackendStatus, BackupResult, Capability, MemoryBackend
from memoryd.checksums import SetAside
from memoryd.memory import Batch, Edge, Event, Memory
from memoryd.postgres.connection import ANSWER_SECONDS, SESSION, WriterLock, connect, place_of
from memoryd.postgres.counters import read_highest_id, repair_counters
from memoryd.postgres.durability import read_hazards
from memoryd.postgres.reading import EDGES, EVENTS, MEMORIES, UNREADABLE, VALUES, Key, Table, read_page
from memoryd.postgres.rows import VALUE_COLUMNS, quoted, read_value_columns, vector_text
from memoryd.postgres.schema import prepare_schema
from memoryd.postgres.writer import PostgresWriter, explain, first_line
from memoryd.retrieval.vector_index import VectorIndex
from memoryd.store_copy import copy_to_file
from services.errors import DataLossError, FailedPreconditionError, ServiceError, UnavailableError

READERS = 4
ItemT = TypeVar("ItemT")


class PostgresBackend:
    def __init__(
        self,
        pool: Any,
        writer: PostgresWriter | None,
        lock: WriterLock,
        damaged: SetAside,
        *,
        has_pgvector: bool,
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._lock = lock
        self._damaged = damaged
        self._closed = False
        self.has_pgvector = has_pgvector

    @property
    def capabilities(self) -> frozenset[Capability]:
        return EVERY_CAPABILITY

    async def apply(self, batch: Batch) -> None:
        if self._writer is None:
            raise FailedPreconditionError(
                f"the store {self._lock.place} was opened read-only", reason="STORE_READ_ONLY"
            )
        await self._writer.submit(batch)

    async def scan(self, after_id: int, limit: int) -> list[Memory]:
        return await self._page(MEMORIES, (after_id,), limit)

    async def scan_edges(self, after_pair: tuple[int, int], limit: int) -> list[Edge]:
        return await self._page(EDGES, after_pair, limit)

    async def read_value(self, name: str) -> str | None:
        sql = f"SELECT {VALUE_COLUMNS} FROM memoryd.value WHERE name = %s"
        rows = await self._read(sql, quoted(name))
        if not rows:
            return None
        found = read_value_columns(rows[0])
        if found is None:
            raise DataLossError(
                f"the value {name!r} of {self._lock.place} fails its checksum; restore a backup",
                reason="STORE_CORRUPT",
            )
        return found[1]

    async def scan_values(self, after_name: str, limit: int) -> list[tuple[str, str]]:
        """Named values after a name; see ValueLister."""
        return await self._page(VALUES, (quoted(after_name) if after_name else "",), limit)

    async def read_events(self, after_sequence: int, limit: int) -> list[Event]:
        return await self._page(EVENTS, (after_sequence,), limit)

    async def status(self) -> BackendStatus:
        sql = (
            "SELECT (SELECT count(*) FROM memoryd.memory), (SELECT count(*) FROM memoryd.edge),"
            " (SELECT coalesce(max(sequence), 0) FROM memoryd.event)"
        )
        async with self._borrow() as connection:
            rows, edges, last = await (await connection.execute(sql)).fetchone()
            highest = await read_highest_id(connection, self._damaged)
            hazards = await read_hazards(connection)
        if self._writer is not None and self._lock.hazard is not None:
            hazards.append(self._lock.hazard)
        warnings = [] if self._writer is not None else ["the store is read-only"]
        warnings += [*hazards, *self._damaged.warnings()]
        return BackendStatus(
            self._lock.place, rows, edges, highest, last, tuple(warnings), durable=not hazards
        )

    async def backup(self, path: Path) -> BackupResult:
        """A SQLite store of the same content, as of one moment."""
        async with self._borrow() as connection:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                pool = _OneConnection(connection)
                snapshot = PostgresBackend(pool, None, self._lock, self._damaged, has_pgvector=False)
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

    async def _page(self, table: Table[ItemT], after: Key, limit: int) -> list[ItemT]:
        async with self._borrow() as connection:
            return await read_page(connection, table, after, limit, self._damaged)

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
        except (psycopg.Error, OSError, UnicodeDecodeError) as error:
            raise _explain_reading(error) from error


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
    lock, damaged = WriterLock(url, place, synchronous_commit), SetAside()
    try:
        connection = await (lock.open_first() if not read_only else connect(url))
        try:
            has_pgvector = await prepare_schema(connection, place, writable=not read_only)
            if not read_only:
                await lock.raise_epoch(connection, damaged)
                await repair_counters(connection, damaged)
        except BaseException:
            await connection.close()
            raise
    except (psycopg.Error, OSError, UnicodeDecodeError) as error:
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
    return PostgresBackend(pool, writer, lock, damaged, has_pgvector=has_pgvector)


async def _configure(connection: Any) -> None:
    await connection.execute(SESSION)


def _explain_reading(error: Exception) -> ServiceError:
    if isinstance(error, UNREADABLE):
        return DataLossError(
            f"the database holds damaged text: {first_line(error)}; restore a backup", reason="STORE_CORRUPT"
        )
    return explain(error)


def _explain_opening(error: Exception, place: str) -> ServiceError:
    explained = _explain_reading(error)
    if explained.reason == "STORE_UNREACHABLE":
        return UnavailableError(
            f"--backend: {place} does not answer: {explained.message}", reason="STORE_UNREACHABLE"
        )
    return explained


_: type[MemoryBackend] = PostgresBackend
