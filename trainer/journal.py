"""The daemon's journal: every experiment and every event in SQLite, so that a restart loses nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from services.errors import ConfigurationError, DataLossError, ResourceExhaustedError
from trainer.experiment import Experiment

SCHEMA = """
CREATE TABLE IF NOT EXISTS experiments (
  experiment_id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, content_hash TEXT NOT NULL,
  terminal INTEGER NOT NULL, record TEXT NOT NULL, source TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
  experiment_id TEXT NOT NULL, sequence INTEGER NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL,
  body TEXT NOT NULL, PRIMARY KEY (experiment_id, sequence)
) WITHOUT ROWID;
"""
VERSION = 1
_EXPERIMENT = TypeAdapter(Experiment)


@dataclass(frozen=True)
class StoredEvent:
    """kind is metric, log, state or dropped; body is JSON."""

    sequence: int
    time: float
    kind: str
    body: str


class Journal:
    """One writer. Commits survive the death of the process (WAL), and of the machine for state changes.

    Raises ResourceExhaustedError (STORE_FULL) when the disk is full.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
            if version > VERSION:
                raise ConfigurationError(
                    f"--state: {path} was written by a newer version (format {version}, not {VERSION}); "
                    "upgrade, or choose another folder"
                )
            self._connection.executescript(SCHEMA)
            self._connection.execute(f"PRAGMA user_version={VERSION}")
        except (OSError, sqlite3.DatabaseError) as error:
            raise ConfigurationError(f"--state: cannot open the journal {path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def add(self, experiment: Experiment, content_hash: str, source: str) -> None:
        """Stores a new experiment durably."""
        self._write(
            [
                (
                    "INSERT INTO experiments VALUES "
                    "(?, (SELECT coalesce(max(number), 0) + 1 FROM experiments), ?, ?, ?, ?)",
                    (experiment.experiment_id, content_hash, 0, _dump(experiment), source),
                )
            ],
            durable=True,
        )

    def save(self, experiment: Experiment, events: Sequence[StoredEvent] = ()) -> None:
        """Replaces the record and appends events, in one durable transaction."""
        values = (int(experiment.state.is_terminal), _dump(experiment), experiment.experiment_id)
        update = ("UPDATE experiments SET terminal=?, record=? WHERE experiment_id=?", values)
        self._write([update, *_inserts(experiment.experiment_id, events)], durable=True)

    def append(self, experiment_id: str, events: Sequence[StoredEvent]) -> None:
        """Appends events; they survive the death of this process."""
        self._write(_inserts(experiment_id, events), durable=False)

    def source(self, experiment_id: str) -> str:
        """The text of train.py; empty for an unknown id."""
        query = "SELECT source FROM experiments WHERE experiment_id=?"
        row = self._connection.execute(query, (experiment_id,)).fetchone()
        return "" if row is None else str(row[0])

    def last_sequence(self, experiment_id: str) -> int:
        query = "SELECT coalesce(max(sequence), 0) FROM events WHERE experiment_id=?"
        return int(self._connection.execute(query, (experiment_id,)).fetchone()[0])

    def count(self, experiment_id: str, kind: str) -> int:
        """Events of one kind."""
        query = "SELECT count(*) FROM events WHERE experiment_id=? AND kind=?"
        return int(self._connection.execute(query, (experiment_id, kind)).fetchone()[0])

    def find(self, experiment_id: str) -> tuple[Experiment, str] | None:
        """The experiment and its content hash."""
        query = "SELECT record, content_hash FROM experiments WHERE experiment_id=?"
        row = self._connection.execute(query, (experiment_id,)).fetchone()
        return None if row is None else (_load(row[0]), str(row[1]))

    def unfinished(self) -> list[Experiment]:
        """Experiments that have not ended, oldest first."""
        query = "SELECT record FROM experiments WHERE terminal=0 ORDER BY number"
        return [_load(row[0]) for row in self._connection.execute(query)]

    def page(self, before: int, count: int) -> list[tuple[int, Experiment]]:
        """At most `count` (number, experiment) pairs below `before`, newest first; 0 starts at the newest."""
        query = "SELECT number, record FROM experiments WHERE (?=0 OR number<?) ORDER BY number DESC LIMIT ?"
        return [
            (int(row[0]), _load(row[1])) for row in self._connection.execute(query, (before, before, count))
        ]

    def events(self, experiment_id: str, after: int, count: int) -> list[StoredEvent]:
        """At most `count` events with a sequence above `after`, in order."""
        query = (
            "SELECT sequence, time, kind, body FROM events WHERE experiment_id=? AND sequence>?"
            " ORDER BY sequence LIMIT ?"
        )
        return [StoredEvent(*row) for row in self._connection.execute(query, (experiment_id, after, count))]

    def _write(self, statements: Iterable[tuple[str, tuple[object, ...]]], *, durable: bool) -> None:
        with closing(self._connection.cursor()) as cursor:
            try:
                cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                cursor.execute("BEGIN IMMEDIATE")
                for statement, values in statements:
                    cursor.execute(statement, values)
                cursor.execute("COMMIT")
            except sqlite3.DatabaseError as error:
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")
                if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
                    raise ResourceExhaustedError(
                        "the journal's disk is full; free some space", reason="STORE_FULL"
                    ) from error
                raise


def _inserts(experiment_id: str, events: Sequence[StoredEvent]) -> list[tuple[str, tuple[object, ...]]]:
    statement = "INSERT INTO events VALUES (?, ?, ?, ?, ?)"
    return [(statement, (experiment_id, e.sequence, e.time, e.kind, e.body)) for e in events]


def _dump(experiment: Experiment) -> str:
    return _EXPERIMENT.dump_json(experiment).decode()


def _load(text: str) -> Experiment:
    try:
        return _EXPERIMENT.validate_json(text)
    except ValueError as error:
        raise DataLossError(
            f"a record of the journal cannot be read: {str(error).splitlines()[0]}"
        ) from error


def body(**fields: object) -> str:
    """The JSON of an event's fields."""
    return json.dumps(fields, separators=(",", ":"))
