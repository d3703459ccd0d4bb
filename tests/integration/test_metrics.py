"""Every metric that a daemon serves is documented, and alerts and dashboard use metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
METRIC = re.compile(r"\b(?:grpc_server|entropyd|memoryd|trainerd|agent)_[a-z_]+\b")


@contextmanager
def daemon(module: str, *flags: str) -> Iterator[dict[str, str]]:
    command = [
        sys.executable,
        "-P",
        "-m",
        module,
        "--listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
        *flags,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()


def read_open_metrics(address: str) -> list[str]:
    """Names of the families in the format that Prometheus asks for; the parser is strict."""
    request = urllib.request.Request(
        f"http://{address}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read().decode()
    return [family.name for family in text_string_to_metric_families(text)]  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("metrics")
    names: set[str] = set()
    with ExitStack() as stack:
        entropyd = stack.enter_context(daemon("entropyd", "--source", "os:", "--state", str(folder / "e")))
        store = f"sqlite:///{folder / 'm.db'}"
        memoryd = stack.enter_context(daemon("memoryd", "--backend", store, "--embedder", "none"))
        state = ("--state", str(folder / "t"), "--data", str(folder / "d"))
        trainerd = stack.enter_context(daemon("trainer", "--executor", "scripted", *state))
        agentd = stack.enter_context(
            daemon("agent", "--trainer", trainerd["grpc"], "--memory", memoryd["grpc"])
        )
        for place in (entropyd, memoryd, trainerd, agentd):
            with urllib.request.urlopen(f"http://{place['http']}/metrics", timeout=20) as answer:
                names |= set(re.findall(r"^# HELP (\S+)", answer.read().decode(), re.MULTILINE))
            assert len(read_open_metrics(place["http"])) > 3
    return {name for name in names if not name.endswith("_created")}


def test_every_metric_is_documented_and_every_documented_one_is_served(served: set[str]) -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| \w+ \| `(\w+)`", text, re.MULTILINE))
    assert documented == served


def test_alerts_and_dashboard_ask_for_metrics_that_exist(served: set[str]) -> None:
    alerts = yaml.safe_load((ROOT / "docs/observability/alerts.yml").read_text(encoding="utf-8"))
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    assert len(rules) >= 8
    dashboard = json.loads((ROOT / "docs/observability/grafana/dashboards/autoresearch.json").read_text())
    queries = [rule["expr"] for rule in rules]
    queries += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name.removesuffix("_bucket") for query in queries for name in METRIC.findall(query)}
    assert asked <= served, asked - served
