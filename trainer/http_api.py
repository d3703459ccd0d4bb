"""The HTTP side of trainerd: metrics about experiments; routes come from services/http_server.py."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from trainer.experiments import Experiments


def add_gauges(registry: CollectorRegistry, experiments: Experiments) -> None:
    """Registers what is read at each scrape."""
    readings: dict[str, tuple[str, Callable[[], float]]] = {
        "trainerd_experiments_running": ("Experiments that run now.", lambda: experiments.running_count),
        "trainerd_experiments_queued": ("Experiments that wait.", lambda: experiments.queued_count),
    }
    for name, (text, read) in readings.items():
        Gauge(name, text, registry=registry).set_function(read)
