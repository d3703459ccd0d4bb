"""The default backend: one SQLite file in WAL mode, synced at every acknowledgement, one connection.

The connection holds the file exclusively, so a second memoryd on the same file is refused, and the WAL can
not be corrupted by two connections. Rows that fail their checksum are set aside and reported, never served.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import apsw

from memoryd.backend import EVERY_CAPABILITY, BackendStatus, BackupResult, Capability, MemoryBackend
from memoryd.checksums import SetAside, intact
from memoryd.memory import Batch, Edge, Event, Memory
from memoryd.sqlite.copy import backup_steps, finish_backup
from memoryd.sqlite.counters import read_counters, register_checksum, repair_counters
from memoryd.sqlite.folder import sync_folder
from memoryd.sqlite.reading import EDGES, EVENTS, MEMORIES, VALUES, Key, Reading, Table
from memoryd.sqlite.schema import prepare_schema, verify_pages
from memoryd.sqlite.writer import SqliteWriter, explain
from services.errors import AlreadyExistsError, ConfigurationError, DataLossError, FailedPreconditionError

MINIMUM_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL that two connections share
ItemT = TypeVar("ItemT")


class SqliteBackend:
    def __init__(
        self,
        connection: apsw.Connection,
        path: Path,
        *,
        read_only: bool,
        damaged_counters: Sequence[str] = (),
    ) -> None:
        self._path = path
        self._read_only = read_only
        self._writer = SqliteWriter(connection)
        self._damaged = SetAside()
        self._reading = Reading(self._damaged)
        for name in damaged_counters:
            self._damaged.add("counter", name)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return EVERY_CAPABILITY

    async def apply(self, batch: Batch) -> None:
        if self._read_only:
            raise FailedPreconditionError(
                f"the store {self._path} is read-only; make it writable and start memoryd again",
                reason="STORE_READ_ONLY",
            )
        await self._writer.submit(batch)

    async def scan(self, after_id: int, limit: int) -> list[Memory]:
        return await self._page(MEMORIES, (after_id,), limit)

    async def scan_edges(self, after_pair: tuple[int, int], limit: int) -> list[Edge]:
        return await self._page(EDGES, after_pair, limit)

    async def read_value(self, name: str) -> str | None:
        def read(connection: apsw.Connection) -> str | None:
            columns = connection.execute("SELECT * FROM value WHERE name=?", (name,)).fetchone()
            if columns is None:
                return None
            if not intact(columns):
                raise DataLossError(
                    f"the value {name!r} of {self._path} fails its checksum; restore a backup",
                    reason="STORE_CORRUPT",
                )
            return str(columns[1])

        return await self._writer.submit(read)

    async def scan_values(self, after_name: str, limit: int) -> list[tuple[str, str]]:
        """Named values after a name, by code point; see ValueLister."""
        return await self._page(VALUES, (after_name,), limit)

    async def read_events(self, after_sequence: int, limit: int) -> list[Event]:
        return await self._page(EVENTS, (after_sequence,), limit)

    async def _page(self, table: Table[ItemT], after: Key, limit: int) -> list[ItemT]:
        def read(connection: apsw.Connection) -> list[ItemT]:
            return self._reading.page(connection, table, after, limit)

        return await self._writer.submit(read) or []

    async def status(self) -> BackendStatus:
        def read(connection: apsw.Connection) -> BackendStatus:
            counters, damaged = read_counters(connection)
            for name in damaged:
                self._damaged.add("counter", name)
            last = connection.execute("SELECT coalesce(max(sequence), 0) FROM event").fetchone()
            warnings = ["the store is read-only"] if self._read_only else []
            warnings += self._damaged.warnings()
            return BackendStatus(
                place=f"sqlite:{self._path}",
                row_count=counters["rows"],
                edge_count=counters["edges"],
                highest_id=counters["highest_id"],
                last_sequence=_integer(last[0]) if last else 0,
                warnings=tuple(warnings),
            )

        result = await self._writer.submit(read)
        assert result is not None
        return result

    async def backup(self, path: Path) -> BackupResult:
        if os.path.lexists(path):  # noqa: ASYNC240 - a lookup, no wait
            raise AlreadyExistsError(f"path: {path} exists; name a new file", reason="PATH_EXISTS")
        steps = backup_steps(path)
        try:
            while await self._writer.submit(steps):
                pass  # between two steps the writer takes batches; the copy follows them
            return await finish_backup(path)
        finally:
            await self._writer.submit(steps.close)

    async def close(self) -> None:
        await self._writer.stop()


async def open_sqlite(
    url: str, *, read_only: bool = False, vfs: str | None = None, synchronous: str = "FULL"
) -> SqliteBackend:
    """Opens or creates `sqlite:///relative` or `sqlite:////absolute`.

    `vfs` and `synchronous` are for fault injection. Raises ConfigurationError for a path that cannot be
    used, DataLossError for a damaged file.
    """
    prefix, _, text = url.partition("sqlite:///")
    if prefix or not text:
        raise ConfigurationError(
            f"--backend: {url!r} is not sqlite:///RELATIVE/PATH or sqlite:////ABSOLUTE/PATH"
        )
    if tuple(int(part) for part in apsw.sqlite_lib_version().split(".")) < MINIMUM_SQLITE:
        raise ConfigurationError(
            f"SQLite {apsw.sqlite_lib_version()} is too old for a safe store: install apsw >= 3.51.3"
        )
    return _open(Path(text), read_only, vfs, synchronous)


def _open(path: Path, read_only: bool, vfs: str | None, synchronous: str) -> SqliteBackend:
    path = path.absolute()
    if path.is_dir():
        raise ConfigurationError(f"--backend: {path} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"--backend: cannot make {path.parent}: {error.strerror}; name a folder that can be written"
        ) from error
    read_only = read_only or (path.exists() and not os.access(path, os.W_OK))
    try:
        connection = _connect(path, read_only=read_only, vfs=vfs, synchronous=synchronous)
    except apsw.BusyError as error:
        raise ConfigurationError(
            f"--backend: {path} is in use by another memoryd; stop that one or name another path",
            reason="STORE_IN_USE",
        ) from error
    except (apsw.ReadOnlyError, apsw.CantOpenError) as error:
        if not path.exists() or read_only:
            raise ConfigurationError(f"--backend: cannot open {path}: {error}") from error
        read_only = True
        connection = _connect(path, read_only=True, vfs=vfs, synchronous=synchronous)
    except apsw.Error as error:
        raise explain(error) from error
    sync_folder(path.parent)
    try:
        damaged = [] if read_only else repair_counters(connection)
    except apsw.Error as error:
        connection.close(True)
        raise explain(error) from error
    return SqliteBackend(connection, path, read_only=read_only, damaged_counters=damaged)


def _connect(path: Path, *, read_only: bool, vfs: str | None, synchronous: str) -> apsw.Connection:
    if read_only:
        # On a disk that cannot be written no WAL index can be made: immutable reads the file as it is.
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        has_log = path.with_name(path.name + "-wal").exists()
        place = path.as_uri() + ("" if has_log else "?immutable=1")
        connection = apsw.Connection(place, flags=flags, vfs=vfs)
    else:
        connection = apsw.Connection(str(path), vfs=vfs)
    try:
        register_checksum(connection)
        connection.set_busy_timeout(500)
        connection.pragma("locking_mode", "EXCLUSIVE")
        if not read_only:
            mode = connection.pragma("journal_mode", "WAL")
            if str(mode).lower() != "wal":
                raise ConfigurationError(f"--backend: {path} cannot be switched to WAL (got {mode})")
            connection.pragma("synchronous", synchronous)
            connection.pragma("journal_size_limit", 64 * 1024 * 1024)
            connection.execute("BEGIN IMMEDIATE; COMMIT")
        verify_pages(connection, str(path))
        prepare_schema(connection, str(path), writable=not read_only)
    except BaseException:
        connection.close(True)
        raise
    return connection


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


_: type[MemoryBackend] = SqliteBackend
