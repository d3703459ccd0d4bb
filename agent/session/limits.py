"""Caps on money, tokens, hours, device time and experiments, and what is left of each. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agent.ledger.records import SessionRecord, SessionTotals, StopReason


class LimitReached(Exception):
    """Ends a session by name; what is unfinished goes on when the cap is raised."""

    def __init__(self, reason: StopReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def check_between_runs(session: SessionRecord, totals: SessionTotals) -> None:
    """Raises LimitReached when no further training run may start."""
    if session.max_hours is not None and session.active_seconds >= session.max_hours * 3600:
        hours = session.active_seconds / 3600
        raise LimitReached(StopReason.TIME_LIMIT, f"{hours:.2f} of {session.max_hours:g} hours are used")
    if session.max_device_seconds is not None and totals.device_seconds >= session.max_device_seconds:
        raise LimitReached(
            StopReason.DEVICE_LIMIT,
            f"{totals.device_seconds:.0f} of {session.max_device_seconds:.0f} device seconds are used",
        )


def check_money(session: SessionRecord, totals: SessionTotals) -> None:
    """Raises LimitReached when no further call of a language model may be made.

    The cap is checked before each call, so it is passed by one call at most.
    """
    if session.max_cost_usd is not None and totals.cost_usd >= session.max_cost_usd:
        raise LimitReached(
            StopReason.COST_LIMIT, f"${totals.cost_usd:.2f} of ${session.max_cost_usd:.2f} are spent"
        )
    used = totals.input_tokens + totals.output_tokens
    if session.max_tokens is not None and used >= session.max_tokens:
        raise LimitReached(StopReason.TOKEN_LIMIT, f"{used} of {session.max_tokens} tokens are used")


def check_before_proposal(session: SessionRecord, totals: SessionTotals) -> None:
    """Raises LimitReached when no new proposal may be made."""
    if session.max_experiments is not None and totals.proposals >= session.max_experiments:
        raise LimitReached(
            StopReason.EXPERIMENT_LIMIT,
            f"{totals.proposals} of {session.max_experiments} experiments are done",
        )
    check_between_runs(session, totals)
    check_money(session, totals)


def remaining_experiments(session: SessionRecord, totals: SessionTotals) -> int | None:
    """How many more proposals may be made; None without a cap."""
    if session.max_experiments is None:
        return None
    return max(0, session.max_experiments - totals.proposals)


@dataclass(frozen=True)
class Forecast:
    """What a session will have cost at its caps, if it goes on as so far; None where nothing is known yet."""

    cost_usd: float | None
    hours: float | None
    device_seconds: float | None


def forecast_text(session: SessionRecord, totals: SessionTotals) -> str:
    """The forecast as a line for a person; "" where nothing is known yet or nothing is left to do."""
    made = forecast(session, totals)
    if made.hours is None or made.device_seconds is None or not remaining_experiments(session, totals):
        return ""
    money = f", {made.cost_usd:.2f} US dollars" if made.cost_usd else ""
    long = f"{made.hours:.1f} h" if made.hours >= 1 else f"{made.hours * 60:.1f} minutes"
    return (
        f"{totals.proposals} of {session.max_experiments} experiments; at this pace all take"
        f" {long}{money}, {made.device_seconds:,.0f} s of training device"
    )


def forecast(session: SessionRecord, totals: SessionTotals) -> Forecast:
    """Extrapolates from the finished proposals to `max_experiments`; the baseline is measured only once."""
    left = remaining_experiments(session, totals)
    if left is None or totals.proposals == 0:
        return Forecast(None, None, None)
    scale = (totals.proposals + left) / totals.proposals
    once = totals.baseline_seconds / totals.device_seconds if totals.device_seconds else 0.0
    longer = once + (1 - once) * scale
    return Forecast(
        totals.cost_usd * scale, session.active_seconds / 3600 * longer, totals.device_seconds * longer
    )
