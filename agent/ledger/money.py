"""What calls of language models used and cost. A call is written down before it is made."""

from __future__ import annotations

from dataclasses import dataclass

from agent.ledger.database import LedgerDatabase
from agent.provider import Usage


@dataclass(frozen=True)
class MoneyTotals:
    """Unsettled calls count with the most that they can have cost."""

    cost_usd: float
    usage: Usage
    calls: int


class LedgerMoney:
    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database

    def ask(self, session_id: str, number: int, model: str, most: Usage, most_usd: float, time: float) -> int:
        """Writes a call that is about to be made with its upper bound; returns its id."""
        with self._database.transaction():
            cursor = self._database.execute(
                "INSERT INTO spends (session_id, number, model, settled, input_tokens, cached_input_tokens, "
                "cache_write_tokens, output_tokens, cost_usd, time) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?)",
                session_id,
                number,
                model,
                most.input_tokens,
                most.cached_input_tokens,
                most.cache_write_tokens,
                most.output_tokens,
                most_usd,
                time,
            )
        return int(cursor.lastrowid or 0)

    def settle(self, spend_id: int, usage: Usage, cost_usd: float) -> None:
        """Replaces the bound by what the provider's own fields say."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE spends SET settled=1, input_tokens=?, cached_input_tokens=?, cache_write_tokens=?, "
                "output_tokens=?, cost_usd=? WHERE spend_id=?",
                usage.input_tokens,
                usage.cached_input_tokens,
                usage.cache_write_tokens,
                usage.output_tokens,
                cost_usd,
                spend_id,
            )

    def totals(self, session_id: str, number: int | None = None) -> MoneyTotals:
        """Of a session, or of the work on one proposal."""
        row = self._database.one(
            "SELECT count(*) AS calls, coalesce(sum(cost_usd), 0) AS cost, "
            "coalesce(sum(input_tokens), 0) AS fresh, coalesce(sum(cached_input_tokens), 0) AS cached, "
            "coalesce(sum(cache_write_tokens), 0) AS written, coalesce(sum(output_tokens), 0) AS output "
            "FROM spends WHERE session_id=? AND (? IS NULL OR number=?)",
            session_id,
            number,
            number,
        )
        usage = Usage(row["fresh"], row["cached"], row["written"], row["output"])
        return MoneyTotals(float(row["cost"]), usage, int(row["calls"]))
