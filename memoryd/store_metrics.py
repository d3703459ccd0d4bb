"""Prometheus series of the store, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from memoryd.engine import Engine
from memoryd.memory import State


class StoreCollector(Collector):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        engine, mirror = self._engine, self._engine.store.mirror
        memories = GaugeMetricFamily("memoryd_memories", "Memories by state.", labels=["state"])
        for state in State:
            memories.add_metric([state.value.lower()], mirror.count(state))
        yield memories
        yield GaugeMetricFamily("memoryd_keystones", "Keystones.", value=len(mirror.keystones))
        yield GaugeMetricFamily("memoryd_edges", "Edges of the graph.", value=len(mirror.graph))
        yield GaugeMetricFamily("memoryd_terms", "Terms.", value=len(mirror.terms))
        yield GaugeMetricFamily("memoryd_heat", "Heat of the store.", value=engine.heat)
        yield GaugeMetricFamily("memoryd_clock_ticks", "Ticks of the clock.", value=engine.clock_state.ticks)
        yield GaugeMetricFamily(
            "memoryd_clock_dreams", "Dreams of the clock.", value=engine.clock_state.dreams
        )
        vectors = engine.missing_vectors
        yield GaugeMetricFamily(
            "memoryd_vectors_waiting",
            "Memories that get their vector once the embedder answers.",
            value=vectors.waiting,
        )
        yield CounterMetricFamily(
            "memoryd_vectors_made_late", "Vectors made after their memory was stored.", value=vectors.made
        )
        warnings = len(engine.store.warnings) + len(engine.store.last_status.warnings)
        yield GaugeMetricFamily("memoryd_warnings", "Warnings that the status shows.", value=warnings)
