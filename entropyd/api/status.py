"""What the daemon says of itself, the same facts over gRPC, HTTP and as metrics."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from entropyd.dispensing.dispenser import Dispenser
from entropyd.health import HealthState
from entropyd.source import SourceKind


@dataclass(frozen=True)
class Identity:
    """What does not change while the daemon runs."""

    source_url: str
    min_entropy_bits_per_sample: float
    assessed: bool
    warnings: tuple[str, ...]
    verify_key: bytes
    version: str
    started_at: float = field(default_factory=time.monotonic)

    @property
    def uptime_seconds(self) -> float:
        return time.monotonic() - self.started_at


class StatusCollector(Collector):
    """Prometheus series read from the dispenser at scrape time."""

    def __init__(self, dispenser: Dispenser, alarms: Counter[str]) -> None:
        self._dispenser = dispenser
        self._alarms = alarms

    def collect(self) -> list[Metric]:
        dispenser = self._dispenser
        served = CounterMetricFamily("entropyd_served_bytes", "Bytes served, by source.", labels=["source"])
        draws = CounterMetricFamily("entropyd_draws", "Draws answered, by source.", labels=["source"])
        for kind in SourceKind:
            served.add_metric([kind.value], dispenser.served_bytes[kind])
            draws.add_metric([kind.value], dispenser.draws[kind])
        health = GaugeMetricFamily(
            "entropyd_source_health", "1 for the present state of the source.", labels=["state"]
        )
        for state in HealthState:
            health.add_metric([state.value], float(dispenser.health.current.state is state))
        alarms = CounterMetricFamily("entropyd_alarms", "Alarms, by health test.", labels=["test"])
        for test, count in self._alarms.items():
            alarms.add_metric([test], count)
        ledger = dispenser.pool.ledger
        return [
            alarms,
            served,
            draws,
            health,
            GaugeMetricFamily(
                "entropyd_full_pool_bytes", "Bytes ready in the full pool.", value=dispenser.pool.byte_count
            ),
            CounterMetricFamily(
                "entropyd_credited_bits", "Min-entropy credited into blocks.", value=ledger.credited_bits
            ),
            CounterMetricFamily("entropyd_blocks", "Conditioner blocks closed.", value=ledger.blocks),
            CounterMetricFamily(
                "entropyd_reseeds", "Reseeds of the generator.", value=dispenser.generator.generation
            ),
            CounterMetricFamily(
                "entropyd_fallback_draws",
                "Draws answered by the operating system.",
                value=dispenser.fallback_draws,
            ),
        ]
