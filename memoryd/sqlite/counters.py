"""The counters of the store: rows, edges, and the highest id ever given."""

from __future__ import annotations

import apsw

from memoryd.checksums import checksum, intact, sealed

FROM_TABLES = {
    "rows": "SELECT count(*) FROM memory",
    "edges": "SELECT count(*) FROM edge",
    "highest_id": "SELECT coalesce(max(id), 0) FROM memory",
}


def register_checksum(connection: apsw.Connection) -> None:
    """Gives SQL the function `crc_of(...)`, the checksum that every stored item carries."""
    connection.create_scalar_function("crc_of", lambda *values: checksum(values), -1, deterministic=True)


def read_counters(connection: apsw.Connection) -> tuple[dict[str, int], list[str]]:
    """Every counter, counted anew where its checksum fails; the second value names those."""
    amounts: dict[str, int] = {}
    damaged: list[str] = []
    for name, count in FROM_TABLES.items():
        stored = connection.execute("SELECT * FROM counter WHERE name = ?", (name,)).fetchone()
        if stored is not None and intact(stored):
            amounts[name] = int(stored[1])
            continue
        damaged.append(name)
        counted = connection.execute(count).fetchone()
        amounts[name] = int(counted[0]) if counted else 0
    return amounts, damaged


def repair_counters(connection: apsw.Connection) -> list[str]:
    """Puts damaged counters right; answers their names. A deleted highest id can then be given again."""
    counted, damaged = read_counters(connection)
    for name in damaged:
        connection.execute("INSERT OR REPLACE INTO counter VALUES(?,?,?)", sealed((name, counted[name])))
    return damaged


def change_counter(connection: apsw.Connection, name: str, by: int) -> None:
    """Adds to a counter inside the transaction that is open."""
    connection.execute(
        "UPDATE counter SET amount = amount + ?2, crc = crc_of(name, amount + ?2) WHERE name = ?1", (name, by)
    )


def raise_counter(connection: apsw.Connection, name: str, to: int) -> None:
    """Brings a counter to at least `to` inside the transaction that is open."""
    connection.execute(
        "UPDATE counter SET amount = ?2, crc = crc_of(name, ?2) WHERE name = ?1 AND amount < ?2", (name, to)
    )
