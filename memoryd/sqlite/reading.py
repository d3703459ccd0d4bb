"""Reading stored items in the order of their keys; one that fails its checksum is set aside and named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import apsw

from memoryd.memory import Edge, Event, Memory
from memoryd.sqlite.rows import intact, read_edge, read_event, read_memory

ItemT = TypeVar("ItemT")
Key = tuple[Any, ...]
NAMED = 10


@dataclass(frozen=True)
class Table(Generic[ItemT]):
    """`keys` lists at most the last parameter's number of keys after a key; `one` is the row of a key.

    `read` makes the item of a row, or None when a checksum fails.
    """

    name: str
    keys: str
    one: str
    read: Callable[[Sequence[Any]], ItemT | None]


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
    "SELECT id FROM memory WHERE id > ? ORDER BY id LIMIT ?",
    "SELECT m.*, r.* FROM memory m LEFT JOIN record r ON r.id = m.id WHERE m.id = ?",
    _memory,
)
EDGES = Table(
    "edge",
    "SELECT low, high FROM edge WHERE (low, high) > (?, ?) ORDER BY low, high LIMIT ?",
    "SELECT * FROM edge WHERE low = ? AND high = ?",
    _edge,
)
EVENTS = Table(
    "event",
    "SELECT sequence FROM event WHERE sequence > ? ORDER BY sequence LIMIT ?",
    "SELECT * FROM event WHERE sequence = ?",
    _event,
)
VALUES = Table(
    "value",
    "SELECT name FROM value WHERE name > ? ORDER BY name LIMIT ?",
    "SELECT * FROM value WHERE name = ?",
    _value,
)


class Reading:
    """Used by the writer's thread alone; `damaged` names what was set aside since the start."""

    def __init__(self) -> None:
        self.damaged: set[str] = set()

    def page(self, connection: apsw.Connection, table: Table[ItemT], after: Key, limit: int) -> list[ItemT]:
        """At most `limit` intact items after a key, ascending; fewer only at the end of the table."""
        found: list[ItemT] = []
        while len(found) < limit:
            keys = connection.execute(table.keys, (*after, limit - len(found))).fetchall()
            if not keys:
                break
            for key in keys:
                item = self._item(connection, table, key)
                if item is None:
                    self.damaged.add(f"{table.name} {'-'.join(map(str, key))}")
                else:
                    found.append(item)
            after = keys[-1]
        return found

    def warnings(self) -> list[str]:
        if not self.damaged:
            return []
        named = ", ".join(sorted(self.damaged)[:NAMED])
        return [
            f"{len(self.damaged)} stored items fail their checksum and are set aside: {named}; "
            "restore a backup to have them again"
        ]

    def _item(self, connection: apsw.Connection, table: Table[ItemT], key: Key) -> ItemT | None:
        try:
            columns = connection.execute(table.one, key).fetchone()
        except UnicodeDecodeError:  # bytes that are no text any more
            return None
        return None if columns is None else table.read(columns)
