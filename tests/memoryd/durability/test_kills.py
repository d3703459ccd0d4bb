"""kill -9 at any moment: what was confirmed is there, once, and the daemon starts again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from memoryd.bench.statistics import percentile
from tests.memoryd.durability.kills import kill_repeatedly


async def test_a_few_kills_lose_nothing(tmp_path: Path) -> None:
    verdict, _ = await kill_repeatedly(tmp_path, 3, seed=1)
    assert verdict.confirmed > 5
    assert (verdict.lost, verdict.duplicated, verdict.forgotten_marks) == (0, 0, 0)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    verdict, _ = await kill_repeatedly(tmp_path, 100, seed=2)
    assert verdict.confirmed > 200
    assert (verdict.lost, verdict.duplicated, verdict.forgotten_marks) == (0, 0, 0)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
async def test_a_thousand_kills_lose_nothing(tmp_path: Path) -> None:
    verdict, ready = await kill_repeatedly(tmp_path, 1000, seed=3)
    print(f"{verdict}; ready again after {figures(ready)} s (target: p95 of 2 s on two idle cores)")
    assert verdict.confirmed > 2000
    assert (verdict.lost, verdict.duplicated, verdict.forgotten_marks) == (0, 0, 0)


def figures(seconds: Sequence[float]) -> str:
    return ", ".join(f"p{share} {percentile(seconds, share / 100):.2f}" for share in (50, 95, 100))
