"""The tables of the PostgreSQL store, in a schema of their own, and the steps that bring one up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from memoryd.postgres.sealing import add_checksums
from services.errors import ConfigurationError

SCHEMA = "memoryd"
LOCK_NUMBER = 0x6D656D64  # "memd": the advisory lock of the one engine that writes

# One entry per schema version; a released entry never changes, a new version appends one.
MIGRATIONS: tuple[str | Callable[[Any], Awaitable[None]], ...] = (
    """
    CREATE TABLE memoryd.memory(
      id bigint PRIMARY KEY, tags text NOT NULL, vector bytea NOT NULL, created_at bigint NOT NULL,
      last_recalled bigint NOT NULL, fidelity float8 NOT NULL, decay_alpha float8 NOT NULL,
      state text NOT NULL, keystone boolean NOT NULL, recall_count bigint NOT NULL,
      consolidation_depth bigint NOT NULL, importance float8 NOT NULL, emotion_primary text,
      emotion_secondary text, consolidated_from text NOT NULL);
    CREATE TABLE memoryd.edge(
      low bigint NOT NULL, high bigint NOT NULL, source bigint NOT NULL, target bigint NOT NULL,
      label text NOT NULL, kind text NOT NULL, weight float8 NOT NULL, PRIMARY KEY(low, high));
    CREATE INDEX edge_high ON memoryd.edge(high);
    CREATE TABLE memoryd.value(name text PRIMARY KEY, text text NOT NULL);
    CREATE TABLE memoryd.event(
      sequence bigint PRIMARY KEY, time_ms bigint NOT NULL, kind text NOT NULL, ids text NOT NULL,
      detail text NOT NULL);
    CREATE TABLE memoryd.counter(name text PRIMARY KEY, amount bigint NOT NULL);
    INSERT INTO memoryd.counter VALUES ('highest_id', 0), ('epoch', 0);
    """,
    add_checksums,
)
VERSION = len(MIGRATIONS)


async def prepare_schema(connection: Any, place: str, *, writable: bool) -> bool:
    """Creates or migrates the tables in one transaction; answers whether pgvector is in use.

    `connection` is an open psycopg AsyncConnection. Raises ConfigurationError for a newer store, or a role
    that may not create what is missing.
    """
    import psycopg

    version = await _read_version(connection)
    if version > VERSION:
        raise ConfigurationError(
            f"--backend: {place} was written by a newer memoryd (schema {version}, this one knows "
            f"{VERSION}); install that version again, or restore a backup made before the upgrade",
            reason="STORE_TOO_NEW",
        )
    if version < VERSION:
        if not writable:
            raise ConfigurationError(f"--backend: {place} needs a migration, which read-only forbids")
        try:
            async with connection.transaction():
                await _migrate(connection, version)
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                f"--backend: the role of {place} may not create the schema {SCHEMA}; run as an "
                f"administrator: CREATE SCHEMA {SCHEMA} AUTHORIZATION <role>"
            ) from error
    return await _use_pgvector(connection, writable)


async def _read_version(connection: Any) -> int:
    found = await (await connection.execute("SELECT to_regclass('memoryd.schema_version')")).fetchone()
    if found is None or found[0] is None:
        return 0
    row = await (await connection.execute("SELECT version FROM memoryd.schema_version")).fetchone()
    return int(row[0]) if row else 0


async def _migrate(connection: Any, version: int) -> None:
    exists = await (
        await connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,))
    ).fetchone()
    if exists is None:  # asking first: IF NOT EXISTS demands the privilege even where nothing is to do
        await connection.execute("CREATE SCHEMA memoryd")
    if version == 0:
        await connection.execute("CREATE TABLE memoryd.schema_version(version bigint NOT NULL)")
        await connection.execute("INSERT INTO memoryd.schema_version VALUES (0)")
    for migration in MIGRATIONS[version:]:
        if isinstance(migration, str):
            await connection.execute(migration)
        else:
            await migration(connection)
    await connection.execute("UPDATE memoryd.schema_version SET version = %s", (VERSION,))


async def _use_pgvector(connection: Any, writable: bool) -> bool:
    """Adds the column `embedding` where the extension is, or can be had; never fails for its absence."""
    import psycopg

    column = (
        "SELECT 1 FROM pg_attribute WHERE attrelid = 'memoryd.memory'::regclass AND attname = 'embedding'"
    )
    if await (await connection.execute(column)).fetchone() is not None:
        return True
    if not writable:
        return False
    try:
        async with connection.transaction():
            extension = "SELECT 1 FROM pg_extension WHERE extname = 'vector'"
            if await (await connection.execute(extension)).fetchone() is None:
                await connection.execute("CREATE EXTENSION vector")
            await connection.execute("ALTER TABLE memoryd.memory ADD COLUMN embedding vector")
            await _fill_embeddings(connection)
    except psycopg.Error:
        return False
    return True


async def _fill_embeddings(connection: Any) -> None:
    from memoryd.postgres.rows import vector_text

    rows = await (
        await connection.execute("SELECT id, vector FROM memoryd.memory WHERE vector <> ''")
    ).fetchall()
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "UPDATE memoryd.memory SET embedding = %s::vector WHERE id = %s",
            [(vector_text(bytes(vector)), memory_id) for memory_id, vector in rows],
        )
