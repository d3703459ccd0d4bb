"""What is special to SQLite files: stores of earlier versions, and items that do not fit their checksum."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from memoryd.memory import Batch, Edge, Event, Memory, Record, Row
from memoryd.sqlite.backend import open_sqlite
from memoryd.sqlite.copy import restore_copy
from memoryd.sqlite.rows import edge_columns, record_columns, row_columns, sealed
from memoryd.sqlite.schema import APPLICATION_ID, MIGRATIONS
from services.errors import ConfigurationError

MEMORY = Memory(Row(7, {"text": "lr 0.04 helped", "channel": "hearing"}, b"\x00\x00\x80?"), Record(5, 6))
EDGE = Edge(7, 9, "next")
EVENTS = [Event(1, 10, "remembered", (7,)), Event(2, 20, "connected", (7, 9), "é\x00 next")]


def write_first_version(path: Path) -> None:
    """A store as the first version of the schema has it: events and counters without checksums."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "WAL")
    with connection:
        connection.execute(MIGRATIONS[0])
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", 1)
        connection.execute("INSERT INTO memory VALUES(?,?,?,?)", row_columns(MEMORY.row))
        places = ",".join("?" * 14)
        connection.execute(f"INSERT INTO record VALUES({places})", record_columns(7, MEMORY.record))
        connection.execute("INSERT INTO edge VALUES(?,?,?,?,?,?,?,?)", edge_columns(EDGE))
        connection.execute("INSERT INTO value VALUES(?,?,?)", sealed(("identity", "me")))
        for event in EVENTS:
            ids = ",".join(map(str, event.memory_ids))
            columns = (event.sequence, event.time_ms, event.kind, ids, event.detail)
            connection.execute("INSERT INTO event VALUES(?,?,?,?,?)", columns)
        connection.execute("UPDATE counter SET amount=1 WHERE name IN ('rows', 'edges')")
        connection.execute("UPDATE counter SET amount=41 WHERE name='highest_id'")
    connection.close()


async def expect_everything(url: str) -> None:
    backend = await open_sqlite(url)
    try:
        assert await backend.scan(-1, 10) == [MEMORY]
        assert await backend.scan_edges((-1, -1), 10) == [EDGE]
        assert await backend.read_events(0, 10) == EVENTS
        assert await backend.read_value("identity") == "me"
        status = await backend.status()
        assert (status.row_count, status.edge_count, status.highest_id) == (1, 1, 41)
        assert status.warnings == ()
    finally:
        await backend.close()


async def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    write_first_version(tmp_path / "memory.db")
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with pytest.raises(ConfigurationError, match="needs a migration"):
        await open_sqlite(url, read_only=True)
    await expect_everything(url)
    await expect_everything(url)
    backend = await open_sqlite(url)
    await backend.apply(Batch(deletes=(7,), events=(Event(3, 30, "forgotten", (7,)),)))
    assert (await backend.status()).row_count == 0
    assert [event.sequence for event in await backend.read_events(0, 10)] == [1, 2, 3]
    await backend.close()


async def test_a_backup_of_the_first_version_can_be_restored(tmp_path: Path) -> None:
    write_first_version(tmp_path / "old.db")
    assert restore_copy(tmp_path / "old.db", tmp_path / "memory.db").row_count == 1
    await expect_everything(f"sqlite:///{tmp_path / 'memory.db'}")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE event SET detail = 'nothing happened' WHERE sequence = 2", "event 2"),
        ("UPDATE event SET ids = '8' WHERE sequence = 1", "event 1"),
        ("UPDATE counter SET amount = 3 WHERE name = 'highest_id'", "counter highest_id"),
        ("UPDATE value SET text = 'you' WHERE name = 'identity'", "value identity"),
        ("UPDATE edge SET label = 'never' WHERE low = 7", "edge 7-9"),
        ("UPDATE record SET keystone = 1 WHERE id = 7", "memory 7"),
    ],
)
async def test_what_does_not_fit_its_checksum_is_set_aside_and_named(
    tmp_path: Path, damage: str, named: str
) -> None:
    write_first_version(tmp_path / "memory.db")
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    await expect_everything(url)
    connection = apsw.Connection(str(tmp_path / "memory.db"))
    connection.execute(damage)
    connection.close()
    backend = await open_sqlite(url)
    assert await backend.scan(-1, 10) in ([], [MEMORY])
    assert await backend.scan_edges((-1, -1), 10) in ([], [EDGE])
    assert [event for event in await backend.read_events(0, 10) if event not in EVENTS] == []
    assert await backend.scan_values("", 10) in ([], [("identity", "me")])
    (warning,) = (await backend.status()).warnings
    await backend.close()
    assert warning.startswith(f"1 stored items fail their checksum and are set aside: {named};")


async def test_a_damaged_counter_is_counted_anew(tmp_path: Path) -> None:
    write_first_version(tmp_path / "memory.db")
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    await expect_everything(url)
    connection = apsw.Connection(str(tmp_path / "memory.db"))
    connection.execute("UPDATE counter SET amount = amount + 64")
    connection.close()
    backend = await open_sqlite(url)
    status = await backend.status()
    assert (status.row_count, status.edge_count, status.highest_id) == (1, 1, 7)
    assert "counter edges, counter highest_id, counter rows" in status.warnings[0]
    await backend.close()
    again = await open_sqlite(url)
    assert (await again.status()).warnings == ()
    await again.close()


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a folder; name a file in it"):
        await open_sqlite(f"sqlite:///{tmp_path}")
