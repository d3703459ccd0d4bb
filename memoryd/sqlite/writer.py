"""One thread that owns the SQLite connection; batches that wait together share one transaction and sync."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import apsw

from memoryd.checksums import sealed
from memoryd.memory import Batch
from memoryd.sqlite.counters import change_counter, raise_counter
from memoryd.sqlite.rows import edge_columns, event_columns, record_columns, row_columns
from services.errors import (
    DataLossError,
    FailedPreconditionError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)

AnswerT = TypeVar("AnswerT")
MAXIMUM_GROUP = 512
KEPT_EVENTS = 20_000


@dataclass(frozen=True)
class Job:
    """A batch to store, or a function of the connection to run between transactions."""

    work: Batch | Callable[[apsw.Connection], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]

    def resolve(self, value: Any) -> None:
        self._call(self.answer.set_result, value)

    def fail(self, error: BaseException) -> None:
        self._call(self.answer.set_exception, error)

    def _call(self, setter: Callable[[Any], None], value: Any) -> None:
        def settle() -> None:
            if not self.answer.done():
                setter(value)

        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self.loop.call_soon_threadsafe(settle)


class SqliteWriter:
    """Runs jobs in the order in which they were given. After a sync error it refuses everything."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._broken: ServiceError | None = None
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Batch | Callable[[apsw.Connection], AnswerT]) -> AnswerT | None:
        """The answer of a function, or None once a batch is durable. Raises the store's errors."""
        if not self._thread.is_alive():
            raise UnavailableError("the store is closed", reason="STORE_UNREACHABLE")
        loop = asyncio.get_running_loop()
        job = Job(work, loop, loop.create_future())
        self._jobs.put(job)
        result: AnswerT | None = await asyncio.shield(job.answer)
        return result

    async def stop(self) -> None:
        """Finishes what was given and closes the connection."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        held: Job | None = None
        while True:
            job = held or self._jobs.get()
            held = None
            if job is None:
                self._close()
                return
            if not isinstance(job.work, Batch):
                self._answer(job)
                continue
            group, held, ended = self._gather(job)
            self._store(group)
            if ended:
                self._close()
                return

    def _close(self) -> None:
        """A sync that fails now takes nothing back: what was acknowledged stands synced in the log."""
        with contextlib.suppress(apsw.Error):
            self._connection.close()

    def _gather(self, first: Job) -> tuple[list[Job], Job | None, bool]:
        """The batches that wait behind `first`, the job that ended the row, and whether the end came."""
        group = [first]
        while len(group) < MAXIMUM_GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return group, None, True
            if not isinstance(job.work, Batch):
                return group, job, False
            group.append(job)
        return group, None, False

    def _answer(self, job: Job) -> None:
        assert not isinstance(job.work, Batch)
        try:
            job.resolve(job.work(self._connection))
        except ServiceError as error:
            job.fail(error)
        except apsw.Error as error:
            job.fail(explain(error))
        except Exception as error:  # damaged bytes surface as any error; a caller must never wait for ever
            job.fail(DataLossError(f"the store holds damaged data: {error}", reason="STORE_CORRUPT"))

    def _store(self, group: list[Job]) -> None:
        error = self._broken or self._commit([job.work for job in group if isinstance(job.work, Batch)])
        if error is None:
            for job in group:
                job.resolve(None)
        elif len(group) == 1 or self._broken is not None:
            for job in group:
                job.fail(error)
        else:  # one batch may be the reason: the others must not fail with it
            for job in group:
                self._store([job])

    def _commit(self, batches: list[Batch]) -> ServiceError | None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for batch in batches:
                write_batch(connection, batch)
            connection.execute("COMMIT")
            return None
        except (apsw.Error, OverflowError, UnicodeEncodeError) as error:
            with contextlib.suppress(apsw.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            explained = explain(error)
            if explained.reason == "STORE_FAILED":
                # What the log holds after a failed sync is unknown; only a new start can tell.
                self._broken = explained
            return explained


def write_batch(connection: apsw.Connection, batch: Batch) -> None:
    """Writes a batch inside the transaction that is open."""
    run = connection.execute
    for memory_id in batch.deletes:
        run("DELETE FROM memory WHERE id=?", (memory_id,))
        removed = connection.changes()
        run("DELETE FROM record WHERE id=?", (memory_id,))
        run("DELETE FROM edge WHERE low=?1 OR high=?1", (memory_id,))
        edges = connection.changes()
        change_counter(connection, "rows", -removed)
        change_counter(connection, "edges", -edges)
    for memory in batch.puts:
        known = run("SELECT 1 FROM memory WHERE id=?", (memory.memory_id,)).fetchone()
        run("INSERT OR REPLACE INTO memory VALUES(?,?,?,?)", row_columns(memory.row))
        run(
            "INSERT OR REPLACE INTO record VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            record_columns(memory.memory_id, memory.record),
        )
        if known is None:
            change_counter(connection, "rows", 1)
    if batch.puts:
        raise_counter(connection, "highest_id", max(memory.memory_id for memory in batch.puts))
    connection.executemany(
        "UPDATE record SET created_at=?2, last_recalled=?3, fidelity=?4, decay_alpha=?5, state=?6,"
        " keystone=?7, recall_count=?8, consolidation_depth=?9, importance=?10, emotion_primary=?11,"
        " emotion_secondary=?12, consolidated_from=?13, crc=?14 WHERE id=?1",
        (record_columns(update.memory_id, update.record) for update in batch.updates),
    )
    for first, second in batch.disconnects:
        run("DELETE FROM edge WHERE low=? AND high=?", (min(first, second), max(first, second)))
        change_counter(connection, "edges", -connection.changes())
    for edge in batch.connects:
        known = run("SELECT 1 FROM edge WHERE low=? AND high=?", edge.pair).fetchone()
        run("INSERT OR REPLACE INTO edge VALUES(?,?,?,?,?,?,?,?)", edge_columns(edge))
        if known is None:
            change_counter(connection, "edges", 1)
    for name, text in batch.values.items():
        if text is None:
            run("DELETE FROM value WHERE name=?", (name,))
        else:
            run("INSERT OR REPLACE INTO value VALUES(?,?,?)", sealed((name, text)))
    for event in batch.events:
        run("INSERT OR REPLACE INTO event VALUES(?,?,?,?,?,?)", event_columns(event))
        if event.sequence % 1000 == 0:
            run("DELETE FROM event WHERE sequence<=?", (event.sequence - KEPT_EVENTS,))


def explain(error: Exception) -> ServiceError:
    """The error of our tree for what SQLite raised."""
    if isinstance(error, apsw.FullError):
        return ResourceExhaustedError(
            "the disk of the store is full; free space and repeat: nothing of this change was stored",
            reason="STORE_FULL",
        )
    if isinstance(error, apsw.ReadOnlyError):
        return FailedPreconditionError("the store is read-only", reason="STORE_READ_ONLY")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return DataLossError(
            f"the store is damaged: {error}; restore a backup with `memoryd restore`", reason="STORE_CORRUPT"
        )
    if isinstance(error, (apsw.IOError, apsw.CantOpenError, apsw.BusyError, apsw.ProtocolError)):
        return UnavailableError(
            f"the disk of the store failed ({error}); the daemon must be started again",
            reason="STORE_FAILED",
        )
    return UnavailableError(f"the store cannot take this change: {error}", reason="STORE_UNREACHABLE")
