"""One trace id runs from a tool call through agentd and trainerd to the metrics of the training run."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest
from autoresearch.agent.v1 import agent_pb2 as pb

from services import logs
from services.agent_client import AgentClient
from tests.agent.daemons import Child, agentd, trainerd
from tests.services.trace_collector import Collector, collecting

TRACE = "5ca1ab1e" * 4


async def run_by_hand(folder: Path, collector: Collector) -> tuple[str, Child, Child]:
    """A run of an edited draft through the tools; the text of trainerd's /metrics after it."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    trainer = trainerd(folder)
    trainer.environment.update(environment)
    await trainer.start()
    agent = agentd(folder, trainer.grpc)
    agent.environment.update(environment)
    await agent.start()
    async with AgentClient(agent.grpc) as client:
        lab = str(folder / "lab")
        started = await client.start_session(pb.StartSessionRequest(lab=lab, manual=True))
        token = logs.trace_id.set(TRACE)
        try:
            for name, arguments in (
                ("set_hyperparams", {"changes": {"DEPTH": 3}}),
                ("run_experiment", {"description": "one layer"}),
            ):
                answer = await client.call_tool(started.session.session_id, name, json.dumps(arguments))
                assert not answer.failed, answer.result_json
        finally:
            logs.trace_id.reset(token)
    return await asyncio.to_thread(read_metrics, trainer.http), trainer, agent


def read_metrics(address: str) -> str:
    request = urllib.request.Request(
        f"http://{address}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


async def test_a_tool_call_and_the_metrics_of_its_run_share_one_trace(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    async with collecting() as collector:
        metrics, trainer, agent = await run_by_hand(tmp_path, collector)
        await agent.stop()
        await trainer.stop()  # each sends what waits before it ends
    traced = [(service, span) for service, span in collector.spans if span.trace_id.hex() == TRACE]
    named = {(service, span.name.rpartition("/")[2]): span for service, span in traced}
    chain = [
        ("agentd", "CallTool"),
        ("agentd", "tool run_experiment"),
        ("agentd", "StartExperiment"),
        ("trainerd", "StartExperiment"),
        ("trainerd", "experiment"),
    ]
    assert set(chain) <= set(named), set(named)
    experiment = named["trainerd", "experiment"]
    assert {"metric"} == {event.name for event in experiment.events}
    parents = {span.span_id for _, span in traced}
    for service, name in chain[1:]:
        assert named[service, name].parent_span_id in parents, name
    counted = [line for line in metrics.splitlines() if "StartExperiment" in line and "_total" in line]
    assert any(f'trace_id="{TRACE}"' in line for line in counted), counted
