"""A PostgreSQL that is killed whole under writers keeps what it confirmed; without syncing it does not."""

from __future__ import annotations

import pytest

pytest.importorskip("psycopg", reason="no PostgreSQL driver here; install the extras")

from tests.memoryd.durability.postgres_kills import KilledServer, kill_repeatedly


async def test_a_killed_server_keeps_what_it_confirmed(killed: KilledServer) -> None:
    verdict = await kill_repeatedly(killed, 1, seed=1)
    assert verdict.confirmed >= 20
    assert (verdict.lost, verdict.wrong) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_five_kills_lose_nothing_and_without_syncing_one_does(killed: KilledServer) -> None:
    """The harness has teeth: commits that do not wait for the sync must be found missing."""
    verdict = await kill_repeatedly(killed, 5, seed=2)
    assert verdict.confirmed >= 100
    assert (verdict.lost, verdict.wrong) == (0, 0)
    careless = await kill_repeatedly(killed, 1, seed=3, synchronous_commit="off")
    assert careless.lost > 0


@pytest.mark.nightly
@pytest.mark.timeout(7200)
async def test_two_hundred_kills_lose_nothing(killed: KilledServer) -> None:
    verdict = await kill_repeatedly(killed, 200, seed=4)
    assert (verdict.lost, verdict.wrong) == (0, 0)
