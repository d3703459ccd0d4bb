"""Counts and times the calls that a gRPC server answers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services import logs


class CallObserver:
    """Prometheus series of one server; names follow the gRPC ecosystem's.

    Each count carries the trace id of its last call as an exemplar, which the OpenMetrics format shows.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._handled = Counter(
            "grpc_server_handled_total", "RPCs completed.", ["grpc_method", "grpc_code"], registry=registry
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds", "Time to answer a unary RPC.", ["grpc_method"], registry=registry
        )
        self._open = Gauge(
            "grpc_server_open_streams", "Server streams now open.", ["grpc_method"], registry=registry
        )

    def unary_done(self, method: str, code: str, seconds: float) -> None:
        self._handled.labels(method, code).inc(exemplar=_exemplar())
        self._seconds.labels(method).observe(seconds, exemplar=_exemplar())

    def stream_opened(self, method: str) -> None:
        self._open.labels(method).inc()

    def stream_done(self, method: str, code: str) -> None:
        self._open.labels(method).dec()
        self._handled.labels(method, code).inc(exemplar=_exemplar())


def _exemplar() -> dict[str, str]:
    return {"trace_id": logs.trace_id.get()}
