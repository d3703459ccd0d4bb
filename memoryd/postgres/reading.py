"""Reading stored items in the order of their keys; one that fails its checksum is set aside and named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg

from memoryd.checksums import SetAside
from memoryd.postgres.rows import (
    EDGE_COLUMNS,
    EVENT_COLUMNS,
    MEMORY_COLUMNS,
    VALUE_COLUMNS,
    read_edge_columns,
    read_event_columns,
    read_memory_columns,
    read_value_columns,
)

# The server says so where it converts the text, the driver where it does not.
UNREADABLE = (UnicodeDecodeError, psycopg.errors.CharacterNotInRepertoire)
ItemT = TypeVar("ItemT")
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Table(Generic[ItemT]):
    """`key` are the first of the `columns`, in the order of SQL; `read` answers None for a damaged row."""

    name: str
    key: tuple[str, ...]
    columns: str
    read: Callable[[Sequence[Any]], ItemT | None]

    def select(self, columns: str) -> str:
        """At most as many rows after a key as the last parameter says."""
        key, places = ", ".join(self.key), ", ".join(["%s"] * len(self.key))
        return f"SELECT {columns} FROM memoryd.{self.name} WHERE ({key}) > ({places}) ORDER BY {key} LIMIT %s"


MEMORIES = Table("memory", ("id",), MEMORY_COLUMNS, read_memory_columns)
EDGES = Table("edge", ("low", "high"), EDGE_COLUMNS, read_edge_columns)
EVENTS = Table("event", ("sequence",), EVENT_COLUMNS, read_event_columns)
VALUES = Table("value", ('name COLLATE "C"',), VALUE_COLUMNS, read_value_columns)


async def read_page(
    connection: Any, table: Table[ItemT], after: Key, limit: int, damaged: SetAside
) -> list[ItemT]:
    """At most `limit` intact items after a key, ascending; fewer only at the end of the table."""
    found: list[ItemT] = []
    while len(found) < limit:
        rows = await _rows(connection, table, (*after, limit - len(found)))
        if not rows:
            break
        for key, columns in rows:
            item = None if columns is None else table.read(columns)
            if item is None:
                damaged.add(table.name, *key)
            else:
                found.append(item)
        after = rows[-1][0]
    return found


async def _rows(connection: Any, table: Table[ItemT], after_and_limit: Key) -> list[tuple[Key, Key | None]]:
    """Keys with their rows; None for a row that cannot be read."""
    width = len(table.key)
    try:
        cursor = await connection.execute(table.select(table.columns), after_and_limit)
        return [(columns[:width], columns) for columns in await cursor.fetchall()]
    except UNREADABLE:  # bytes of one row are no text any more
        cursor = await connection.execute(table.select(", ".join(table.key)), after_and_limit)
        return [(key, await _row(connection, table, key)) for key in await cursor.fetchall()]


async def _row(connection: Any, table: Table[ItemT], key: Key) -> Key | None:
    wanted = " AND ".join(f"{name} = %s" for name in table.key)
    try:
        cursor = await connection.execute(
            f"SELECT {table.columns} FROM memoryd.{table.name} WHERE {wanted}", key
        )
        row: Key | None = await cursor.fetchone()
        return row
    except UNREADABLE:
        return None
