"""kill -9 at any moment: what was confirmed is there, once, and the daemon starts again."""

from __future__ import annotations

from pathlib import Path

import pytest

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
async def test_a_thousand_kills_lose_nothing_and_start_within_two_seconds(tmp_path: Path) -> None:
    verdict, ready = await kill_repeatedly(tmp_path, 1000, seed=3)
    assert (verdict.lost, verdict.duplicated, verdict.forgotten_marks) == (0, 0, 0)
    assert sorted(ready)[int(len(ready) * 0.95)] <= 2.0
