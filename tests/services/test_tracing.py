"""Spans: none without an endpoint, and with one a tree under the trace id that the logs carry."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from services import errors, logs, tracing
from services.entropy_client import EntropyClient
from tests.services.probe import NAME, Probe, serve_probe
from tests.services.trace_collector import Collector, collecting

ROOT = Path(__file__).resolve().parents[2]
TRACE = "0123456789abcdef0123456789abcdef"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


async def spans_of_calls(probe: Probe, *purposes: str, watch: bool = False) -> Collector:
    """What a collector gets of one piece of work that draws for each purpose."""
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    async with collecting() as collector:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ENDPOINT, collector.url)
            traces = tracing.tracing("probe", {ENDPOINT: collector.url})
            traces.__enter__()
            async with serve_probe(probe) as server, EntropyClient(str(server.address)) as client:
                with tracing.span("work", kind="test"):
                    for purpose in purposes:
                        with suppress(errors.ServiceError):
                            await client.draw(1, purpose=purpose)
                    if watch:
                        _ = [health async for health in client.watch_health()]
            # Leaving sends what waits, to the collector in this thread.
            await asyncio.to_thread(traces.__exit__, None, None, None)
    return collector


async def test_client_and_server_spans_hang_below_the_work_in_one_trace() -> None:
    probe = Probe()
    token = logs.trace_id.set(TRACE)
    try:
        collector = await spans_of_calls(probe, "", watch=True)
    finally:
        logs.trace_id.reset(token)
    [(_, work)] = collector.named("work")
    assert {service for service, _ in collector.spans} == {"probe"}
    assert {span.trace_id.hex() for _, span in collector.spans} == {TRACE} == set(probe.trace_ids)
    for method in ("DrawEntropy", "WatchHealth"):
        client, server = sorted((span for _, span in collector.named(f"{NAME}/{method}")), key=kind_of)[::-1]
        assert (client.kind, server.kind) == (3, 2)  # CLIENT, SERVER
        assert client.parent_span_id == work.span_id
        assert server.parent_span_id == client.span_id


def kind_of(span: object) -> int:
    return int(span.kind)  # type: ignore[attr-defined]


async def test_work_without_a_trace_begins_one_that_its_calls_carry() -> None:
    probe = Probe()
    collector = await spans_of_calls(probe, "", "")
    assert {span.trace_id.hex() for _, span in collector.spans} == set(probe.trace_ids)
    assert len(set(probe.trace_ids)) == 1
    assert logs.trace_id.get() == ""


async def test_failures_are_marked_by_their_code() -> None:
    probe = Probe()
    probe.raises = {"defect": KeyError("x"), "wrong": errors.InvalidArgumentError("wrong")}
    collector = await spans_of_calls(probe, "defect", "wrong")
    seen = [
        (attributes_of(span)["rpc.response.status_code"], span.status.code == 2)
        for _, span in collector.named("DrawEntropy")
    ]
    assert sorted(seen) == [("INTERNAL", True)] * 2 + [("INVALID_ARGUMENT", False)] * 2


def attributes_of(span: object) -> dict[str, str]:
    return {item.key: item.value.string_value for item in span.attributes}  # type: ignore[attr-defined]


async def test_a_collector_that_is_away_neither_delays_calls_nor_keeps_the_process() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    nobody = "http://127.0.0.1:1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENDPOINT, nobody)
        with tracing.tracing("probe", {ENDPOINT: nobody}):
            async with serve_probe(Probe()) as server, EntropyClient(str(server.address)) as client:
                assert (await client.draw(3, purpose="")).entropy == b"xxx"


@pytest.mark.parametrize(
    "environment", [{}, {ENDPOINT: ""}, {ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}]
)
def test_nothing_is_imported_where_no_traces_are_asked_for(environment: dict[str, str]) -> None:
    code = (
        "import sys\nfrom services import daemon, tracing\n"
        f"with tracing.tracing('x', {environment!r}), tracing.span('work'):\n"
        "    tracing.note('seen', {'step': 1})\n"
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "False"), run.stderr


def test_without_the_extra_the_daemon_serves_on_and_says_how_to_get_traces() -> None:
    code = (
        "import logging, sys\nlogging.basicConfig()\n"
        "sys.modules['opentelemetry'] = None\n"  # as if it were not installed
        "from services.tracing import tracing\n"
        f"with tracing('x', {{{ENDPOINT!r}: 'http://127.0.0.1:1'}}):\n    print('serves')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "serves")
    assert "install autoresearch-stack[otel]" in run.stderr


@pytest.mark.parametrize("given", ["trace-of-a-script", "g" * 32, "0" * 32])
def test_ids_of_other_shapes_become_trace_ids_that_are_valid(given: str) -> None:
    otlp = pytest.importorskip("services.otlp", reason="the extra otel is not installed")
    assert 0 < otlp.number_of(given) < 2**128
    assert otlp.number_of(given) == otlp.number_of(given)
