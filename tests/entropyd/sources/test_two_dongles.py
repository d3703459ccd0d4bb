"""Two dongles on one machine: the one asked for is read, and the other never stands in for it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from entropyd.health import HealthState
from entropyd.source import SourceUnavailableError
from entropyd.sources.rtlsdr_source import RtlSdrSource
from entropyd.sources.tuning import Tuning
from tests.entropyd.conftest import FakeDongle
from tests.entropyd.sources.test_rtlsdr_faults import SHORT, tuning  # noqa: F401 - a fixture
from tests.entropyd.test_station import running, until, until_radio

ONE, OTHER = "11111111", "22222222"


@pytest.fixture
def wish(tuning: Tuning) -> Tuning:  # noqa: F811
    """For the second on the bus."""
    return replace(tuning, serial=OTHER)


async def why_not(tuning: Tuning, **arguments: float) -> SourceUnavailableError:  # noqa: F811
    with pytest.raises(SourceUnavailableError) as caught:
        async with RtlSdrSource(tuning, **arguments):
            pass
    return caught.value


@pytest.mark.long
async def test_the_one_asked_for_goes_and_comes_and_the_other_never_stands_in(
    dongle: FakeDongle, wish: Tuning
) -> None:
    dongle.set(f"ok {ONE} {OTHER}")
    async with running(lambda: RtlSdrSource(wish), SHORT) as (station, dispenser):
        await until_radio(dispenser)
        assert OTHER in dispenser.origin.detail
        dongle.set(f"ok {ONE}")  # unplugged in the middle of a read
        await until(dispenser, HealthState.ABSENT, "no-device")
        assert OTHER in dispenser.health.current.explanation
        openings = station.openings
        await asyncio.sleep(2 * SHORT.absent_most)
        assert (station.openings, dispenser.origin.kind.value) == (openings, "os")
        assert (dispenser.pool.byte_count, dispenser.generator.radio_bits) == (0, 0.0)
        dongle.set(f"ok {ONE} {OTHER}")
        await until(dispenser, HealthState.HEALTHY)
        await until_radio(dispenser)
        openings = station.openings
        dongle.set(f"ok {OTHER}")  # the other one goes: its number on the bus changes, and nothing else
        await asyncio.sleep(0.3)
        assert (station.openings, dispenser.health.current.state) == (openings, HealthState.HEALTHY)


async def test_numbers_that_shift_while_it_is_opened_open_no_other(dongle: FakeDongle, wish: Tuning) -> None:
    dongle.set(f"shift {OTHER} {ONE}")
    error = await why_not(wish)
    assert (error.cause, str(error)) == (
        "no-device",
        f"the dongle '{OTHER}' went away; '{ONE}' stands in its place",
    )


async def test_one_that_may_not_be_asked_is_not_called_absent(dongle: FakeDongle, wish: Tuning) -> None:
    dongle.set(f"denied {ONE}")
    assert (await why_not(wish)).cause == "no-permission"


@pytest.mark.long
async def test_an_opening_that_hangs_is_ended(dongle: FakeDongle, wish: Tuning) -> None:
    dongle.set(f"hang {ONE} {OTHER}")
    source = RtlSdrSource(wish, open_timeout=2.0)
    opening = asyncio.create_task(source.__aenter__())
    async with asyncio.timeout(10):
        while (process_id := source.process_id) is None:
            await asyncio.sleep(0.01)
    with pytest.raises(SourceUnavailableError) as caught:
        await opening
    assert caught.value.cause == "stalled"
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
