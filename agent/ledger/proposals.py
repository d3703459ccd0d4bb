"""Proposals in the ledger."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agent.ledger.codec import read_record, write_record
from agent.ledger.database import LedgerDatabase
from agent.ledger.records import ProposalRecord, ProposalState
from agent.verdict import Verdict


@dataclass(frozen=True)
class ProposalTotals:
    """Baselines are not counted; `best` is the incumbent's score at the time it was kept."""

    count: int
    kept: int
    baseline: float | None
    best: float | None


class LedgerProposals:
    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database

    def put(self, proposal: ProposalRecord) -> None:
        """Inserts or replaces by (session, number)."""
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO proposals (session_id, number, state, verdict, source_hash, diff_hash, fields) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session_id, number) DO UPDATE SET "
                "state=excluded.state, verdict=excluded.verdict, source_hash=excluded.source_hash, "
                "diff_hash=excluded.diff_hash, fields=excluded.fields",
                proposal.session_id,
                proposal.number,
                proposal.state.value,
                proposal.verdict.value if proposal.verdict else None,
                proposal.source_hash,
                proposal.diff_hash,
                write_record(proposal),
            )

    def find(self, session_id: str, number: int) -> ProposalRecord | None:
        return _first(
            self._database.rows(
                "SELECT fields FROM proposals WHERE session_id=? AND number=?", session_id, number
            )
        )

    def unfinished(self, session_id: str) -> ProposalRecord | None:
        """The proposal that a crash or a stop left before RECORDED; there is at most one."""
        return _first(
            self._database.rows(
                "SELECT fields FROM proposals WHERE session_id=? AND number>0 AND state!=? ORDER BY number",
                session_id,
                ProposalState.RECORDED.value,
            )
        )

    def page(self, session_id: str, after_number: int = -1, limit: int = 500) -> list[ProposalRecord]:
        """Oldest first, the baseline included."""
        found = self._database.rows(
            "SELECT fields FROM proposals WHERE session_id=? AND number>? ORDER BY number LIMIT ?",
            session_id,
            after_number,
            limit,
        )
        return [read_record(ProposalRecord, row["fields"]) for row in found]

    def all(self, session_id: str) -> list[ProposalRecord]:
        return self.page(session_id, limit=-1)

    def next_number(self, session_id: str) -> int:
        row = self._database.one(
            "SELECT coalesce(max(number), 0) AS last FROM proposals WHERE session_id=?", session_id
        )
        return int(row["last"]) + 1

    def totals(self, session_id: str) -> ProposalTotals:
        kept = self._database.rows(
            "SELECT fields FROM proposals WHERE session_id=? AND number>0 AND state=? AND verdict IN (?, ?) "
            "ORDER BY number",
            session_id,
            ProposalState.RECORDED.value,
            Verdict.KEEP.value,
            Verdict.EQUIVALENT.value,
        )
        count = self._database.one(
            "SELECT count(*) AS n FROM proposals WHERE session_id=? AND number>0", session_id
        )["n"]
        baseline = self.find(session_id, 0)
        first = baseline.val_bpb if baseline else None
        last = _first(kept[-1:])
        return ProposalTotals(count, len(kept), first, last.val_bpb if last else first)


def _first(rows: list[sqlite3.Row]) -> ProposalRecord | None:
    return read_record(ProposalRecord, rows[0]["fields"]) if rows else None
