"""The tables of the SQLite store and the steps that bring an older store up to date."""

from __future__ import annotations

import apsw

from services.errors import ConfigurationError, DataLossError

APPLICATION_ID = 0x6D656D64  # "memd"

# One entry per schema version; a released entry never changes, a new version appends one.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE memory(
      id INTEGER PRIMARY KEY, tags TEXT NOT NULL, vector BLOB NOT NULL, crc INTEGER NOT NULL);
    CREATE TABLE record(
      id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, last_recalled INTEGER NOT NULL,
      fidelity REAL NOT NULL, decay_alpha REAL NOT NULL, state TEXT NOT NULL, keystone INTEGER NOT NULL,
      recall_count INTEGER NOT NULL, consolidation_depth INTEGER NOT NULL, importance REAL NOT NULL,
      emotion_primary TEXT, emotion_secondary TEXT, consolidated_from TEXT NOT NULL, crc INTEGER NOT NULL);
    CREATE TABLE edge(
      low INTEGER NOT NULL, high INTEGER NOT NULL, source INTEGER NOT NULL, target INTEGER NOT NULL,
      label TEXT NOT NULL, kind TEXT NOT NULL, weight REAL NOT NULL, crc INTEGER NOT NULL,
      PRIMARY KEY(low, high)) WITHOUT ROWID;
    CREATE INDEX edge_high ON edge(high);
    CREATE TABLE value(name TEXT PRIMARY KEY, text TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE event(
      sequence INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, kind TEXT NOT NULL, ids TEXT NOT NULL,
      detail TEXT NOT NULL);
    CREATE TABLE counter(name TEXT PRIMARY KEY, amount INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counter VALUES ('highest_id', 0), ('rows', 0), ('edges', 0);
    """,
    """
    ALTER TABLE event ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
    UPDATE event SET crc = crc_of(sequence, time_ms, kind, ids, detail);
    ALTER TABLE counter ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
    UPDATE counter SET crc = crc_of(name, amount);
    """,
)
VERSION = len(MIGRATIONS)


def prepare_schema(connection: apsw.Connection, place: str, *, writable: bool) -> None:
    """Creates the tables or migrates an older store, each step in one transaction.

    The connection must know crc_of(). Raises ConfigurationError for a store of a newer version or a file
    that is something else.
    """
    version = check_version(connection, place)
    if version == VERSION:
        return
    if not writable:
        raise ConfigurationError(f"--backend: {place} needs a migration, which read-only forbids")
    for number in range(version, VERSION):
        with connection:
            connection.execute(MIGRATIONS[number])
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", number + 1)


def check_version(connection: apsw.Connection, place: str) -> int:
    """The schema version of a store, 0 of an empty file. Raises ConfigurationError as `prepare_schema`."""
    application_id = int(connection.pragma("application_id"))
    version = int(connection.pragma("user_version"))
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    is_empty = tables is not None and tables[0] == 0
    if not is_empty and application_id != APPLICATION_ID:
        raise ConfigurationError(
            f"--backend: {place} is a SQLite database of another program; name another path"
        )
    if version > VERSION:
        raise ConfigurationError(
            f"--backend: {place} was written by a newer memoryd (schema {version}, this one knows "
            f"{VERSION}); install that version again, or restore a backup made before the upgrade",
            reason="STORE_TOO_NEW",
        )
    return version


def verify_pages(connection: apsw.Connection, place: str) -> None:
    """Raises DataLossError when the b-trees of the store are damaged."""
    problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if problems != ["ok"]:
        raise DataLossError(
            f"{place} is damaged ({problems[0][:120]}); stop, keep the file, and restore a backup with "
            "`memoryd restore`",
            reason="STORE_CORRUPT",
        )
