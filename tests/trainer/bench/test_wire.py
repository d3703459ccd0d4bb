"""The bench of the wire: its load is steady, and its figures are what was promised."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from trainer.bench.wire import call_steadily, measure_wire, percentile


async def test_a_slow_answer_holds_up_no_other_call() -> None:
    """All are sent although none is answered; what one waits for counts from the moment it was due."""
    asked, let_go = 0, asyncio.Event()

    async def call() -> None:
        nonlocal asked
        asked += 1
        if asked == 20:
            let_go.set()
        await asyncio.wait_for(let_go.wait(), 30)

    began = time.perf_counter()
    taken = await call_steadily(call, rate=1_000, seconds=0.02)
    assert len(taken) == 20
    assert 0.019 <= max(taken) <= time.perf_counter() - began


def test_percentiles_are_of_the_sorted_values() -> None:
    values = [0.001 * number for number in range(100, 0, -1)]
    assert percentile(values, 50) == pytest.approx(51)
    assert percentile(values, 99) == pytest.approx(100)


@pytest.mark.nightly
@pytest.mark.timeout(600)
async def test_a_metric_reaches_twenty_watchers_in_a_quarter_of_a_second(tmp_path: Path) -> None:
    figures = await measure_wire(tmp_path, 10)
    print(figures)
    assert float(figures["fan_out_p95_ms"]) <= 250
