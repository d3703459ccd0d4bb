"""The migration that gives every stored item of an older PostgreSQL store its checksum."""

from __future__ import annotations

from typing import Any

from memoryd.checksums import checksum

PAGE = 1000
# Table, checksum column, how many of the columns are the key, and the columns that it covers. Part of a
# released migration: a later one appends, this never changes.
_SEALS = (
    ("memory", "crc", 1, "id, tags, vector"),
    (
        "memory",
        "record_crc",
        1,
        "id, created_at, last_recalled, fidelity, decay_alpha, state, keystone, recall_count,"
        " consolidation_depth, importance, emotion_primary, emotion_secondary, consolidated_from",
    ),
    ("edge", "crc", 2, "low, high, source, target, label, kind, weight"),
    ("value", "crc", 1, "name, text"),
    ("event", "crc", 1, "sequence, time_ms, kind, ids, detail"),
    ("counter", "crc", 1, "name, amount"),
)


async def add_checksums(connection: Any) -> None:
    """Adds and fills the columns inside the transaction that is open."""
    for table, column, key_width, columns in _SEALS:
        await connection.execute(f"ALTER TABLE memoryd.{table} ADD COLUMN {column} bigint")
        wanted = " AND ".join(f"{name} = %s" for name in columns.split(", ")[:key_width])
        async with connection.cursor(name="sealing") as rows, connection.cursor() as writing:
            await rows.execute(f"SELECT {columns} FROM memoryd.{table}")
            while page := await rows.fetchmany(PAGE):
                await writing.executemany(
                    f"UPDATE memoryd.{table} SET {column} = %s WHERE {wanted}",
                    [(checksum(row), *row[:key_width]) for row in page],
                )
        await connection.execute(f"ALTER TABLE memoryd.{table} ALTER COLUMN {column} SET NOT NULL")
