"""Reading stored items in the order of their keys; one that fails its checksum is set aside and named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import apsw

from memoryd.checksums import SetAside, intact
from memoryd.memory import Edge, Event, Memory
from memoryd.sqlite.rows import read_edge, read_event, read_memory

ItemT = TypeVar("ItemT")
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Table(Generic[ItemT]):
    """`rows` and `keys` list at most as many after a key as the last parameter says; `one` is a key's row.

    The first `key_width` columns of a row are its key. `read` makes its item, or None when a checksum fails.
    """

    name: str
    rows: str
    keys: str
    one: str
    read: Callable[[Sequence[Any]], ItemT | None]
    key_width: int = 1


def _memory(columns: Sequence[Any]) -> Memory | None:
    row, record = columns[:4], columns[4:]
    if record[0] is None or not intact(row) or not intact(record):
        return None
    return read_memory(row[:3], record[:-1])


def _edge(columns: Sequence[Any]) -> Edge | None:
    return read_edge(columns) if intact(columns) else None


def _event(columns: Sequence[Any]) -> Event | None:
    return read_event(columns) if intact(columns) else None


def _value(columns: Sequence[Any]) -> tuple[str, str] | None:
    return (str(columns[0]), str(columns[1])) if intact(columns) else None


MEMORIES = Table(
    "memory",
    "SELECT m.*, r.* FROM memory m LEFT JOIN record r ON r.id = m.id WHERE m.id > ? ORDER BY m.id LIMIT ?",
    "SELECT id FROM memory WHERE id > ? ORDER BY id LIMIT ?",
    "SELECT m.*, r.* FROM memory m LEFT JOIN record r ON r.id = m.id WHERE m.id = ?",
    _memory,
)
EDGES = Table(
    "edge",
    "SELECT * FROM edge WHERE (low, high) > (?, ?) ORDER BY low, high LIMIT ?",
    "SELECT low, high FROM edge WHERE (low, high) > (?, ?) ORDER BY low, high LIMIT ?",
    "SELECT * FROM edge WHERE low = ? AND high = ?",
    _edge,
    key_width=2,
)
EVENTS = Table(
    "event",
    "SELECT * FROM event WHERE sequence > ? ORDER BY sequence LIMIT ?",
    "SELECT sequence FROM event WHERE sequence > ? ORDER BY sequence LIMIT ?",
    "SELECT * FROM event WHERE sequence = ?",
    _event,
)
VALUES = Table(
    "value",
    "SELECT * FROM value WHERE name > ? ORDER BY name LIMIT ?",
    "SELECT name FROM value WHERE name > ? ORDER BY name LIMIT ?",
    "SELECT * FROM value WHERE name = ?",
    _value,
)


class Reading:
    """Used by the writer's thread alone; `damaged` gets what it sets aside."""

    def __init__(self, damaged: SetAside) -> None:
        self._damaged = damaged

    def page(self, connection: apsw.Connection, table: Table[ItemT], after: Key, limit: int) -> list[ItemT]:
        """At most `limit` intact items after a key, ascending; fewer only at the end of the table."""
        found: list[ItemT] = []
        while len(found) < limit:
            rows = self._rows(connection, table, (*after, limit - len(found)))
            if not rows:
                break
            for key, columns in rows:
                item = None if columns is None else table.read(columns)
                if item is None:
                    self._damaged.add(table.name, *key)
                else:
                    found.append(item)
            after = rows[-1][0]
        return found

    def _rows(
        self, connection: apsw.Connection, table: Table[ItemT], after_and_limit: Key
    ) -> list[tuple[Key, Key | None]]:
        """Keys with their rows; None for a row that cannot be read."""
        try:
            found = connection.execute(table.rows, after_and_limit).fetchall()
            return [(columns[: table.key_width], columns) for columns in found]
        except UnicodeDecodeError:  # bytes of one row are no text any more
            keys = connection.execute(table.keys, after_and_limit).fetchall()
            return [(key, self._row(connection, table, key)) for key in keys]

    def _row(self, connection: apsw.Connection, table: Table[ItemT], key: Key) -> Key | None:
        try:
            return connection.execute(table.one, key).fetchone()
        except UnicodeDecodeError:
            return None
