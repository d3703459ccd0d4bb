"""The ledger: everything that was decided, written before it is done. It is the truth of a lab.

All writes of one step stand in one transaction, with the event that tells watchers of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agent.ledger.codec import damaged, read_record, unpack_text, write_record
from agent.ledger.database import LedgerDatabase
from agent.ledger.memories import LedgerMemories
from agent.ledger.money import LedgerMoney
from agent.ledger.proposals import LedgerProposals
from agent.ledger.records import LedgerEvent, ProposalRecord, SessionRecord, SessionTotals
from agent.ledger.runs import LedgerRuns
from services.errors import NotFoundError

LEDGER_NAME = "ledger.db"


class Ledger:
    """Opened once per lab by the process that holds the lab's lock; others open it read-only.

    `may_be_new` is False where a lab's repository stands already: that is made after the ledger.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float],
        read_only: bool = False,
        may_be_new: bool = True,
    ) -> None:
        self._database = LedgerDatabase(path, read_only=read_only, may_be_new=may_be_new)
        self._clock = clock
        self._changed = asyncio.Event()
        self.proposals = LedgerProposals(self._database)
        self.runs = LedgerRuns(self._database)
        self.memories = LedgerMemories(self._database)
        self.money = LedgerMoney(self._database)

    @property
    def lab_id(self) -> str:
        return self._database.lab_id

    @property
    def present(self) -> bool:
        """Whether the file is still where it was opened."""
        return self._database.path.exists()

    def now(self) -> float:
        """Seconds since 1970 by the clock this ledger was opened with."""
        return self._clock()

    def close(self) -> None:
        self._database.close()
        self.tell_watchers()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """One step: all of it becomes durable, or nothing does."""
        with self._database.transaction():
            yield
        self.tell_watchers()

    # Sessions

    def add_session(self, session: SessionRecord) -> None:
        with self.transaction():
            self._database.execute(
                "INSERT INTO sessions (session_id, tag, fields) VALUES (?, ?, ?)",
                session.session_id,
                session.tag,
                write_record(session),
            )
            self._tell_session(session)

    def update_session(self, session_id: str, **fields: Any) -> SessionRecord:
        """Changes fields of a session and tells watchers when its state did."""
        return self.replace_session(replace(self.session(session_id), **fields))

    def replace_session(self, after: SessionRecord) -> SessionRecord:
        """As `update_session`, with the whole record."""
        with self.transaction():
            before = self.session(after.session_id)
            self._database.execute(
                "UPDATE sessions SET fields=? WHERE session_id=?", write_record(after), after.session_id
            )
            if replace(before, active_seconds=after.active_seconds) != after:
                self._tell_session(after)
        return after

    def session(self, session_id: str) -> SessionRecord:
        """Raises NotFoundError (SESSION_NOT_FOUND)."""
        found = self._database.rows("SELECT fields FROM sessions WHERE session_id=?", session_id)
        if not found:
            raise NotFoundError(f"there is no session {session_id!r}", reason="SESSION_NOT_FOUND")
        return read_record(SessionRecord, found[0]["fields"])

    def find_session(self, tag: str) -> SessionRecord | None:
        found = self._database.rows("SELECT fields FROM sessions WHERE tag=?", tag)
        return read_record(SessionRecord, found[0]["fields"]) if found else None

    def sessions(self) -> list[SessionRecord]:
        found = self._database.rows("SELECT fields FROM sessions ORDER BY rowid")
        return [read_record(SessionRecord, row["fields"]) for row in found]

    def totals(self, session_id: str) -> SessionTotals:
        """Counts and sums over the rows of a session."""
        proposals, runs, money = (
            self.proposals.totals(session_id),
            self.runs.totals(session_id),
            self.money.totals(session_id),
        )
        return SessionTotals(
            proposals=proposals.count,
            kept=proposals.kept,
            runs=runs.count,
            baseline_val_bpb=proposals.baseline,
            best_val_bpb=proposals.best,
            cost_usd=money.cost_usd,
            input_tokens=money.usage.total - money.usage.output_tokens,
            output_tokens=money.usage.output_tokens,
            device_seconds=runs.seconds,
            baseline_seconds=runs.baseline_seconds,
        )

    # Proposals, through here where watchers must be told

    def put_proposal(self, proposal: ProposalRecord) -> ProposalRecord:
        with self.transaction():
            self.proposals.put(proposal)
            self._append(proposal.session_id, "proposal", asdict(proposal))
        return proposal

    def say(self, session_id: str, message: str) -> None:
        """One line for a person who watches."""
        with self.transaction():
            self._append(session_id, "message", {"text": message})

    # Content by its hash

    def put_text(self, kind: str, text: str) -> str:
        """Stores a text once, compressed; returns its SHA-256."""
        data = text.encode()
        digest = hashlib.sha256(data).hexdigest()
        with self.transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO blobs (hash, kind, data) VALUES (?, ?, ?)",
                digest,
                kind,
                zlib.compress(data),
            )
        return digest

    def text(self, digest: str) -> str:
        """Raises NotFoundError for an unknown hash, DataLossError for a text that is not what was stored."""
        found = self._database.rows("SELECT data FROM blobs WHERE hash=?", digest)
        if not found:
            raise NotFoundError(f"the ledger holds no text {digest[:12]}")
        return unpack_text(digest, found[0]["data"])

    # Events

    def events(self, session_id: str, after_sequence: int, limit: int = 500) -> list[LedgerEvent]:
        found = self._database.rows(
            "SELECT * FROM events WHERE session_id=? AND sequence>? ORDER BY sequence LIMIT ?",
            session_id,
            after_sequence,
            limit,
        )
        try:
            return [
                LedgerEvent(row["sequence"], session_id, row["time"], row["kind"], json.loads(row["payload"]))
                for row in found
            ]
        except ValueError as error:
            raise damaged("no event") from error

    def last_sequence(self, session_id: str) -> int:
        """Of the newest event; 0 without any."""
        row = self._database.one(
            "SELECT coalesce(max(sequence), 0) AS last FROM events WHERE session_id=?", session_id
        )
        return int(row["last"])

    def next_change(self) -> asyncio.Event:
        """An event that is set once anything was written after this call."""
        return self._changed

    def tell_watchers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _tell_session(self, session: SessionRecord) -> None:
        payload = {
            "session": json.loads(write_record(session)),
            "totals": asdict(self.totals(session.session_id)),
        }
        self._append(session.session_id, "session", payload)

    def _append(self, session_id: str, kind: str, payload: dict[str, Any]) -> None:
        self._database.execute(
            "INSERT INTO events (session_id, time, kind, payload) VALUES (?, ?, ?, ?)",
            session_id,
            self._clock(),
            kind,
            json.dumps(payload, default=str),
        )
