"""Prometheus series of the sessions, read from their ledgers when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.session.sessions import Sessions

if TYPE_CHECKING:
    from agent.session.session import Session


class SessionCollector(Collector):
    """One sample per session this daemon knows, labelled by its id."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def describe(self) -> list[Metric]:
        """Nothing in advance: the names are known once a session is."""
        return []

    def collect(self) -> Iterator[Metric]:
        labels = ["session"]
        proposals = CounterMetricFamily("agent_proposals", "Proposals made.", labels=labels)
        kept = CounterMetricFamily("agent_kept", "Proposals kept.", labels=labels)
        runs = CounterMetricFamily("agent_runs", "Training runs whose result counts.", labels=labels)
        cost = CounterMetricFamily("agent_cost_usd", "Spent on language models.", labels=labels)
        tokens = CounterMetricFamily("agent_model_tokens", "Tokens in and out.", labels=labels)
        best = GaugeMetricFamily("agent_best_val_bpb", "The incumbent's score.", labels=labels)
        sigma = GaugeMetricFamily("agent_noise_sigma", "Noise of a paired difference.", labels=labels)
        running = GaugeMetricFamily("agent_session_running", "1 while the loop runs.", labels=labels)
        for session in self._sessions.all():
            totals = session.ledger.totals(session.session_id)
            name = [session.session_id]
            proposals.add_metric(name, totals.proposals)
            kept.add_metric(name, totals.kept)
            runs.add_metric(name, totals.runs)
            cost.add_metric(name, totals.cost_usd)
            tokens.add_metric(name, totals.input_tokens + totals.output_tokens)
            best.add_metric(name, totals.best_val_bpb or 0.0)
            sigma.add_metric(name, _sigma(session))
            running.add_metric(name, float(session.running))
        yield from (proposals, kept, runs, cost, tokens, best, sigma, running)


def _sigma(session: Session) -> float:
    return session.record.noise_sigma or 0.0
