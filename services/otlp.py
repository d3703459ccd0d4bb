"""Spans by the OpenTelemetry SDK and OTLP over HTTP (extra `otel`); imported where traces are asked for."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services import logs, tracing

FLUSH_SECONDS = 2.0
_KINDS = {
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
    "internal": trace.SpanKind.INTERNAL,
}
_FAILURES = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_propagator = TraceContextTextMapPropagator()


class OtlpTracer:
    """Sends in a thread of its own, in batches; a collector that is away costs nothing but the spans."""

    def __init__(self, service: str) -> None:
        resource = Resource.create()  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
        if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: service}))
        self._provider = TracerProvider(
            resource=resource, id_generator=_IdsOfTheLogs(), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("autoresearch")
        for name in ("opentelemetry", "urllib3"):  # a lost collector is a warning, not one for each try
            logging.getLogger(name).setLevel(logging.ERROR)

    def begin(
        self, name: str, kind: str, parent: str, attributes: Mapping[str, str | int | float]
    ) -> OtlpSpan:
        context = (
            _propagator.extract({tracing.PARENT_KEY: parent})
            if parent
            else trace.set_span_in_context(trace.INVALID_SPAN)
        )
        given = dict(attributes) | ({"rpc.system.name": "grpc"} if kind != "internal" else {})
        if logs.experiment_id.get():
            given["experiment_id"] = logs.experiment_id.get()
        return OtlpSpan(self._tracer.start_span(name.strip("/"), context, _KINDS[kind], given))

    def close(self) -> None:
        # The exporter tries again for longer than a daemon may take to end: a thread that nobody waits for.
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


class OtlpSpan:
    """A span of the SDK behind our seam."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def parent_header(self) -> str:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get(tracing.PARENT_KEY, "")

    def note(self, name: str, attributes: Mapping[str, str | int | float]) -> None:
        self._span.add_event(name, dict(attributes))

    def end(self, code: str = "OK") -> None:
        self._span.set_attribute("rpc.response.status_code", code)
        if code in _FAILURES:
            self._span.set_status(trace.StatusCode.ERROR, code)
        self._span.end()


class _IdsOfTheLogs(IdGenerator):
    """The first span of a trace takes the id that the logs and the metadata of the RPCs carry."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return number_of(logs.trace_id.get()) or self._random.generate_trace_id()


def number_of(trace_id: str) -> int:
    """32 hexadecimal digits as they are; any other id by its SHA-256; 0 for none."""
    if not trace_id:
        return 0
    try:
        number = int(trace_id, 16) if len(trace_id) == 32 else 0
    except ValueError:
        number = 0
    return number or int.from_bytes(hashlib.sha256(trace_id.encode()).digest()[:16], "big")


_: type[tracing.Tracer] = OtlpTracer
