"""Connections to PostgreSQL: sessions that wait for the sync, and the lock of the one engine that writes."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from memoryd.checksums import SetAside
from memoryd.postgres.counters import EPOCH, raise_epoch, read_counter
from memoryd.postgres.durability import wait_for_syncs
from memoryd.postgres.schema import LOCK_NUMBER
from services.errors import ConfigurationError, UnavailableError

ANSWER_SECONDS = 5.0
STATEMENT_SECONDS = 60
SESSION = f"SET statement_timeout = '{STATEMENT_SECONDS}s'; SET client_encoding = 'UTF8'"


class WriterLock:
    """Keeps to one writing engine: an advisory lock, and an epoch that tells whether one was in between.

    `hazard` is a warning when commits of the writing session do not wait for the sync.
    """

    def __init__(self, url: str, place: str, synchronous_commit: str = "") -> None:
        self._url = url
        self.place = place
        self._synchronous_commit = synchronous_commit
        self._epoch = 0
        self.hazard: str | None = None

    async def open_first(self) -> Any:
        connection = await self._connect()
        if not await self._lock(connection):
            await connection.close()
            raise ConfigurationError(
                f"--backend: {self.place} is in use by another memoryd; stop that one first",
                reason="STORE_IN_USE",
            )
        return connection

    async def raise_epoch(self, connection: Any, damaged: SetAside) -> None:
        self._epoch = await raise_epoch(connection, damaged)

    async def reopen(self) -> Any:
        """A new connection after a lost one. Raises STORE_FAILED when another engine has written."""
        connection = await self._connect()
        try:
            if not await self._lock(connection):
                raise UnavailableError(
                    "the database still holds the lock of the lost connection", reason="STORE_UNREACHABLE"
                )
            if await read_counter(connection, EPOCH) != (self._epoch, True):
                raise UnavailableError(
                    f"another memoryd has written to {self.place}; the daemon must be started again",
                    reason="STORE_FAILED",
                )
            await connection.set_autocommit(False)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _connect(self) -> Any:
        connection = await connect(self._url)
        try:
            self.hazard = await wait_for_syncs(connection, self._synchronous_commit)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _lock(self, connection: Any) -> bool:
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_NUMBER,))).fetchone()
        return bool(row and row[0])


async def connect(url: str) -> Any:
    """A connection that commits each statement by itself."""
    async with asyncio.timeout(ANSWER_SECONDS):
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=int(ANSWER_SECONDS)
        )
    await connection.execute(SESSION)
    return connection


def place_of(url: str) -> str:
    """The URL without its password."""
    try:
        parts = conninfo_to_dict(url)
        if not all(port.isdecimal() for port in str(parts.get("port") or "0").split(",") if port):
            raise psycopg.ProgrammingError("the port is not a number")
    except psycopg.Error as error:
        raise ConfigurationError(
            f"--backend: not a PostgreSQL URL ({str(error).strip()}); write postgresql://USER@HOST:PORT/DATABASE"
        ) from error
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"
