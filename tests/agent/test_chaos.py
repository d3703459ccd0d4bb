"""kill -9 of any daemon at any moment: nothing is lost, doubled or half kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.chaos import chaos_in, check_exactly_once


@pytest.mark.timeout(300)
async def test_a_short_session_survives_kills(tmp_path: Path) -> None:
    async with chaos_in(tmp_path / "chaos", seed=1) as chaos:
        await chaos.run(3, most_seconds=240, between=(0.3, 2.0))
        assert chaos.kills.keys() == {"agent", "trainer", "memory", "entropy"}
        (await check_exactly_once(chaos, 3)).close()


@pytest.mark.long
@pytest.mark.timeout(1000)
async def test_thirty_experiments_survive_kills_of_every_daemon(tmp_path: Path) -> None:
    async with chaos_in(tmp_path / "chaos", seed=2) as chaos:
        await chaos.run(30, most_seconds=900, between=(0.5, 3.0))
        assert chaos.kills.keys() == {"agent", "trainer", "memory", "entropy"}
        (await check_exactly_once(chaos, 30)).close()


@pytest.mark.nightly
@pytest.mark.timeout(7200)
async def test_two_hundred_experiments_survive_kills_of_every_daemon(tmp_path: Path) -> None:
    async with chaos_in(tmp_path / "chaos", seed=3) as chaos:
        await chaos.run(200, most_seconds=7000, between=(0.5, 4.0))
        assert chaos.kills.keys() == {"agent", "trainer", "memory", "entropy"}
        print("kills:", chaos.kills)
        (await check_exactly_once(chaos, 200)).close()
