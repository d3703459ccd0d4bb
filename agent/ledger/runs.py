"""Training runs and seeds in the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from agent.ledger.codec import read_record, write_record
from agent.ledger.database import LedgerDatabase
from agent.ledger.records import RunKind, RunRecord, SeedRecord


@dataclass(frozen=True)
class RunTotals:
    """`count` is of runs with a result that counts; `seconds` is time on the training device, of all.

    `baseline_seconds` is the part of it that the baseline's replicates took.
    """

    count: int
    seconds: float
    baseline_seconds: float


class LedgerRuns:
    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database

    def put(self, run: RunRecord) -> None:
        """Inserts or replaces by experiment id. A second usable result for one place is refused."""
        usable = int(run.ended and not run.void)
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO runs (experiment_id, session_id, number, kind, position, attempt, seed, "
                "source_hash, ended, usable, fields) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (experiment_id) DO UPDATE SET ended=excluded.ended, usable=excluded.usable, "
                "fields=excluded.fields",
                run.experiment_id,
                run.session_id,
                run.number,
                run.kind.value,
                run.position,
                run.attempt,
                run.seed,
                run.source_hash,
                int(run.ended),
                usable,
                write_record(run),
            )

    def of_proposal(self, session_id: str, number: int) -> list[RunRecord]:
        """Every attempt, in the order in which they were asked for."""
        return _all(
            self._database.rows(
                "SELECT fields FROM runs WHERE session_id=? AND number=? ORDER BY rowid", session_id, number
            )
        )

    def attempts(self, session_id: str, number: int, kind: RunKind, position: int) -> list[RunRecord]:
        return _all(
            self._database.rows(
                "SELECT fields FROM runs WHERE session_id=? AND number=? AND kind=? AND position=? "
                "ORDER BY attempt",
                session_id,
                number,
                kind.value,
                position,
            )
        )

    def measured(self, session_id: str, source_hash: str, seed: int) -> RunRecord | None:
        """A usable run of this source on this seed, if the session has one."""
        found = _all(
            self._database.rows(
                "SELECT fields FROM runs WHERE session_id=? AND source_hash=? AND seed=? AND usable=1 "
                "ORDER BY rowid LIMIT 1",
                session_id,
                source_hash,
                seed,
            )
        )
        return found[0] if found else None

    def usable_of_source(self, session_id: str, source_hash: str) -> list[RunRecord]:
        return _all(
            self._database.rows(
                "SELECT fields FROM runs WHERE session_id=? AND source_hash=? AND usable=1 ORDER BY rowid",
                session_id,
                source_hash,
            )
        )

    def all(self, session_id: str) -> list[RunRecord]:
        return _all(
            self._database.rows("SELECT fields FROM runs WHERE session_id=? ORDER BY rowid", session_id)
        )

    def totals(self, session_id: str) -> RunTotals:
        row = self._database.one(
            "SELECT coalesce(sum(usable), 0) AS n, "
            "coalesce(sum(json_extract(fields, '$.seconds')), 0) AS seconds, "
            "coalesce(sum(json_extract(fields, '$.seconds')) FILTER (WHERE number=0), 0) AS baseline "
            "FROM runs WHERE session_id=?",
            session_id,
        )
        return RunTotals(int(row["n"]), float(row["seconds"]), float(row["baseline"]))

    # Seeds

    def seed(self, session_id: str, index: int) -> SeedRecord | None:
        found = self._database.rows(
            "SELECT fields FROM seeds WHERE session_id=? AND seed_index=?", session_id, index
        )
        return read_record(SeedRecord, found[0]["fields"]) if found else None

    def put_seed(self, session_id: str, seed: SeedRecord) -> None:
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO seeds (session_id, seed_index, pack_id, pack_index, fields) "
                "VALUES (?, ?, ?, ?, ?)",
                session_id,
                seed.index,
                seed.pack_id,
                seed.pack_index,
                write_record(seed),
            )

    def seeds_of_pack(self, session_id: str, pack_id: str) -> int:
        """How many seeds of a pack are in use; the next one to reveal has this index."""
        row = self._database.one(
            "SELECT count(*) AS n FROM seeds WHERE session_id=? AND pack_id=?", session_id, pack_id
        )
        return int(row["n"])


def _all(rows: Sequence[sqlite3.Row]) -> list[RunRecord]:
    return [read_record(RunRecord, row["fields"]) for row in rows]
