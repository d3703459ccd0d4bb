"""The benchmark command runs and reports; its figures are read by people, not by tests."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from entropyd.bench import bench_pipeline, bench_receipts, milliseconds


def test_the_quick_parts_report_positive_figures() -> None:
    for figures in (bench_pipeline(chunks=4), bench_receipts(200)):
        assert all(value > 0 for value in figures.values())


def test_percentiles_come_from_the_sorted_list() -> None:
    assert milliseconds("x", [0.003, 0.001, 0.002]) == {"x_p50_ms": 2.0, "x_p99_ms": 3.0}


@pytest.mark.long
def test_the_command_reports_every_part() -> None:
    command = [sys.executable, "-m", "entropyd", "bench", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    results = json.loads(done.stdout)
    assert set(results) == {"pipeline", "grpc", "http", "receipts"}
    print(done.stdout)
