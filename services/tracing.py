"""Traces of OpenTelemetry, optional: spans of RPCs and of work, under the trace id that the logs carry.

Nothing is imported and nothing is sent unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) is set;
then `services/otlp.py` sends by OTLP over HTTP as the other standard `OTEL_*` variables say. Ids flow with or
without it: `x-trace-id` in the metadata of every RPC, `traceparent` beside it where spans are made.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from services import logs

ENDPOINT_NAMES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PARENT_KEY = "traceparent"

log = logging.getLogger(__name__)


class Span(Protocol):
    """One piece of work with a start and an end."""

    @property
    def parent_header(self) -> str:
        """The W3C `traceparent` under which the callee's spans belong; empty where none are made."""
        ...

    def note(self, name: str, attributes: Mapping[str, str | int | float]) -> None:
        """Something that happened during it."""
        ...

    def end(self, code: str = "OK") -> None:
        """Ends it; `code` is a gRPC status name."""
        ...


class Tracer(Protocol):
    """Makes spans and brings them away. Neither method may block or raise for a lost collector."""

    def begin(self, name: str, kind: str, parent: str, attributes: Mapping[str, str | int | float]) -> Span:
        """`kind`: server, client or internal. `parent`: a `traceparent`; where empty, the span is the first
        of the trace whose id `services.logs.trace_id` holds."""
        ...

    def close(self) -> None:
        """Sends what waits, within two seconds."""
        ...


class _NoSpan:
    parent_header = ""

    def note(self, name: str, attributes: Mapping[str, str | int | float]) -> None:
        pass

    def end(self, code: str = "OK") -> None:
        pass


_NO_SPAN = _NoSpan()
_tracers: list[Tracer] = []  # at most one, for the whole process, as the root logger is
_current: ContextVar[Span] = ContextVar("current_span", default=_NO_SPAN)


@contextmanager
def tracing(service: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Sends spans of this process while inside, if the environment asks for it and the extra is there."""
    wanted = any(environment.get(name) for name in ENDPOINT_NAMES)
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield
        return
    try:
        from services.otlp import OtlpTracer
    except ImportError as error:
        log.warning("no traces: %s; install autoresearch-stack[otel]", error)
        yield
        return
    tracer = OtlpTracer(service)
    _tracers.append(tracer)
    try:
        yield
    finally:
        _tracers.remove(tracer)
        tracer.close()


def begin_call(method: str) -> Span:
    """A client span of an RPC under the work at hand. The caller ends it."""
    return _begin(method, "client", _current.get().parent_header, {"rpc.method": method})


def begin_answer(method: str, parent: str) -> Span:
    """A server span of an RPC, and what this task does from here on belongs to it. The caller ends it."""
    span = _begin(method, "server", parent, {"rpc.method": method})
    _current.set(span)
    return span


@contextmanager
def span(name: str, *, new_trace: bool = False, **attributes: str | int | float) -> Iterator[None]:
    """Work inside the trace at hand; begins one where none is, or where `new_trace` asks for it."""
    begins = new_trace or not logs.trace_id.get()
    trace = logs.trace_id.set(uuid.uuid4().hex) if begins else None
    parent = "" if begins else _current.get().parent_header
    work = _begin(name, "internal", parent, attributes)
    current = _current.set(work)
    code = "UNKNOWN"
    try:
        yield
        code = "OK"
    finally:
        work.end(code)
        _current.reset(current)
        if trace is not None:
            logs.trace_id.reset(trace)


def note(name: str, attributes: Mapping[str, str | int | float]) -> None:
    """Something that happened during the work at hand."""
    _current.get().note(name, attributes)


def _begin(name: str, kind: str, parent: str, attributes: Mapping[str, str | int | float]) -> Span:
    return _tracers[-1].begin(name, kind, parent, attributes) if _tracers else _NO_SPAN
