"""The one connection that writes to a PostgreSQL store: waiting batches share a transaction and its sync."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg

from memoryd.memory import Batch, RecordUpdate
from memoryd.postgres.counters import raise_highest_id
from memoryd.postgres.rows import (
    EDGE_COLUMNS,
    EVENT_COLUMNS,
    MEMORY_COLUMNS,
    RECORD_TYPES,
    VALUE_COLUMNS,
    edge_columns,
    event_columns,
    memory_columns,
    quoted,
    record_columns,
    value_columns,
    vector_text,
)
from services.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)

MAXIMUM_GROUP = 256
RECONNECT_SECONDS = 8.0  # how long a batch waits for a server that has gone away
KEPT_EVENTS = 20_000


class PostgresWriter:
    """Stores batches in the order given. `connect` opens a connection that holds the writer's lock.

    After a lost connection a batch is stored again: batches are idempotent, and nobody else can have
    written, which `connect` checks.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, has_pgvector: bool) -> None:
        self._connect = connect
        self._has_pgvector = has_pgvector
        self._connection: Any = None
        self._pending: list[tuple[Batch, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._broken: ServiceError | None = None

    def use(self, connection: Any) -> None:
        """Hands over the first connection."""
        self._connection = connection

    async def submit(self, batch: Batch) -> None:
        """Returns once the batch is durable. Raises the store's errors."""
        if self._closed:
            raise UnavailableError("the store is closed", reason="STORE_UNREACHABLE")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((batch, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        await asyncio.shield(answer)

    async def stop(self) -> None:
        """Finishes what was given and closes the connection."""
        self._closed = True
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._drop_connection()

    async def _drain(self) -> None:
        while self._pending:
            group = self._pending[:MAXIMUM_GROUP]
            del self._pending[:MAXIMUM_GROUP]
            await self._store(group)

    async def _store(self, group: list[tuple[Batch, asyncio.Future[None]]]) -> None:
        error = self._broken or await self._commit([batch for batch, _ in group])
        if error is not None and len(group) > 1 and error.reason == "INVALID_ARGUMENT":
            for one in group:  # one batch is the reason: the others must not fail with it
                await self._store([one])
            return
        for _, answer in group:
            if answer.done():
                continue
            if error is None:
                answer.set_result(None)
            else:
                answer.set_exception(error)

    async def _commit(self, batches: Sequence[Batch]) -> ServiceError | None:
        give_up = time.monotonic() + RECONNECT_SECONDS
        is_unsure = False
        while True:
            try:
                if self._connection is None:
                    self._connection = await self._connect()
                for batch in batches:
                    await write_batch(self._connection, batch, self._has_pgvector)
                is_unsure = True
                await self._connection.commit()
                return None
            except ServiceError as error:
                if error.reason == "STORE_FAILED":
                    self._broken = error
                    return error
                explained = error
            except (psycopg.Error, OSError, UnicodeEncodeError) as error:
                explained = explain(error)
            except Exception as error:  # a driver's surprise must not leave callers waiting
                explained = UnavailableError(
                    f"the store cannot take this change: {error}", reason="STORE_UNREACHABLE"
                )
            if explained.reason != "STORE_UNREACHABLE":
                await self._roll_back()
                return explained
            await self._drop_connection()
            if time.monotonic() >= give_up or self._closed:
                if not is_unsure:
                    return explained
                self._broken = UnavailableError(
                    "the database went away while it confirmed a change; the daemon must be started again",
                    reason="STORE_FAILED",
                )
                return self._broken
            await asyncio.sleep(0.2)

    async def _roll_back(self) -> None:
        try:
            await self._connection.rollback()
        except psycopg.Error:
            await self._drop_connection()

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()


async def write_batch(connection: Any, batch: Batch, has_pgvector: bool) -> None:
    """Writes a batch inside the transaction that is open."""
    async with connection.cursor() as cursor:
        if batch.deletes:
            ids = list(batch.deletes)
            await cursor.execute("DELETE FROM memoryd.memory WHERE id = ANY(%s)", (ids,))
            await cursor.execute("DELETE FROM memoryd.edge WHERE low = ANY(%s) OR high = ANY(%s)", (ids, ids))
        if batch.puts:
            await _write_puts(cursor, batch, has_pgvector)
        if batch.updates:
            await _write_updates(cursor, batch.updates)
        if batch.disconnects:
            await cursor.executemany(
                "DELETE FROM memoryd.edge WHERE low = %s AND high = %s",
                [(min(pair), max(pair)) for pair in batch.disconnects],
            )
        if batch.connects:
            await cursor.executemany(
                f"INSERT INTO memoryd.edge ({EDGE_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
                f" ON CONFLICT (low, high) DO UPDATE SET {_replaced(EDGE_COLUMNS)}",
                [edge_columns(edge) for edge in batch.connects],
            )
        for name, text in batch.values.items():
            if text is None:
                await cursor.execute("DELETE FROM memoryd.value WHERE name = %s", (quoted(name),))
            else:
                await cursor.execute(
                    f"INSERT INTO memoryd.value ({VALUE_COLUMNS}) VALUES (%s, %s, %s)"
                    f" ON CONFLICT (name) DO UPDATE SET {_replaced(VALUE_COLUMNS)}",
                    value_columns(name, text),
                )
        for event in batch.events:
            await cursor.execute(
                f"INSERT INTO memoryd.event ({EVENT_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)"
                f" ON CONFLICT (sequence) DO UPDATE SET {_replaced(EVENT_COLUMNS)}",
                event_columns(event),
            )
            if event.sequence % 1000 == 0:
                old = event.sequence - KEPT_EVENTS
                await cursor.execute("DELETE FROM memoryd.event WHERE sequence <= %s", (old,))


def _replaced(columns: str) -> str:
    """What an insert sets where the key is known already."""
    return ", ".join(f"{name} = excluded.{name}" for name in columns.split(", "))


async def _write_puts(cursor: Any, batch: Batch, has_pgvector: bool) -> None:
    replaced = _replaced(MEMORY_COLUMNS)
    places = ", ".join(["%s"] * len(MEMORY_COLUMNS.split(", ")))
    rows = [memory_columns(memory) for memory in batch.puts]
    if has_pgvector:
        await cursor.executemany(
            f"INSERT INTO memoryd.memory ({MEMORY_COLUMNS}, embedding) VALUES ({places}, %s::vector)"
            f" ON CONFLICT (id) DO UPDATE SET {replaced}, embedding = excluded.embedding",
            [
                (*columns, vector_text(memory.row.vector))
                for columns, memory in zip(rows, batch.puts, strict=True)
            ],
        )
    else:
        await cursor.executemany(
            f"INSERT INTO memoryd.memory ({MEMORY_COLUMNS}) VALUES ({places})"
            f" ON CONFLICT (id) DO UPDATE SET {replaced}",
            rows,
        )
    await raise_highest_id(cursor, max(memory.memory_id for memory in batch.puts))


async def _write_updates(cursor: Any, updates: Sequence[RecordUpdate]) -> None:
    """One statement for any number of records: a dream changes every one."""
    newest = {update.memory_id: update.record for update in updates}
    columns = zip(*(record_columns(*one) for one in newest.items()), strict=True)
    changed = ", ".join(f"{name} = n.{name}" for name, _ in RECORD_TYPES)
    names = ", ".join(name for name, _ in RECORD_TYPES)
    arrays = ", ".join(f"%s::{kind}[]" for _, kind in RECORD_TYPES)
    await cursor.execute(
        f"UPDATE memoryd.memory m SET {changed}"
        f" FROM unnest(%s::bigint[], {arrays}) AS n(id, {names}) WHERE m.id = n.id",
        (list(newest), *(list(column) for column in columns)),
    )


def explain(error: Exception) -> ServiceError:
    """The error of our tree for what the driver raised."""
    state = str(getattr(error, "sqlstate", None) or "")
    match state[:2]:
        case "53" if state in ("53100", "53200", "53400"):
            return ResourceExhaustedError(
                "the database has no room left; free space and repeat: nothing of this change was stored",
                reason="STORE_FULL",
            )
        case "22" | "54":
            return InvalidArgumentError(f"the database refuses a value: {first_line(error)}")
        case "XX" if state in ("XX001", "XX002"):
            return DataLossError(
                f"the database reports damaged data: {first_line(error)}; restore a backup",
                reason="STORE_CORRUPT",
            )
    if state == "25006":
        return FailedPreconditionError("the store is read-only", reason="STORE_READ_ONLY")
    if isinstance(error, (UnicodeEncodeError, psycopg.DataError)):
        return InvalidArgumentError(f"the database refuses a value: {first_line(error)}")
    return UnavailableError(
        f"the database cannot be reached or used: {first_line(error)}", reason="STORE_UNREACHABLE"
    )


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
