"""Memories that wait in the ledger until memoryd has them (an outbox), so that no verdict is forgotten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from agent.ledger.database import LedgerDatabase


@dataclass(frozen=True)
class PendingMemory:
    """`key` makes a second delivery harmless."""

    key: str
    text: str
    tags: Mapping[str, str]
    importance: float


class LedgerMemories:
    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database

    def add(self, session_id: str, memory: PendingMemory) -> None:
        """Queues a memory; the same key queues once."""
        with self._database.transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO outbox (key, session_id, text, tags, importance) "
                "VALUES (?, ?, ?, ?, ?)",
                memory.key,
                session_id,
                memory.text,
                json.dumps(dict(memory.tags)),
                memory.importance,
            )

    def waiting(self, session_id: str, limit: int = 100) -> list[PendingMemory]:
        """Not yet delivered, oldest first."""
        found = self._database.rows(
            "SELECT * FROM outbox WHERE session_id=? AND sent=0 ORDER BY rowid LIMIT ?", session_id, limit
        )
        return [
            PendingMemory(row["key"], row["text"], json.loads(row["tags"]), row["importance"])
            for row in found
        ]

    def mark_sent(self, key: str) -> None:
        with self._database.transaction():
            self._database.execute("UPDATE outbox SET sent=1 WHERE key=?", key)
