"""How long the station waits before it opens a source again: as long as this failure asks, no earlier one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from entropyd.health import HealthState
from entropyd.source import Chunk, SourceDescription, SourceKind, SourceUnavailableError
from entropyd.station import Station, Timers
from tests.entropyd.dispensing.test_dispenser import make_dispenser

FAILURES = [
    SourceUnavailableError("not installed", cause="library-missing", retry_after=60.0),
    SourceUnavailableError("not plugged in", cause="no-device", retry_after=3.0),
    SourceUnavailableError("held by another program", cause="busy"),
    SourceUnavailableError("held by another program", cause="busy"),
    SourceUnavailableError("installed for another Python", cause="library-missing", retry_after=600.0),
]


class FailingSource:
    """Each opening fails in the next way."""

    description = SourceDescription(SourceKind.RADIO, "a receiver", raw=True)

    def __init__(self, failure: SourceUnavailableError) -> None:
        self._failure = failure

    async def __aenter__(self) -> Self:
        raise self._failure

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def read(self) -> Chunk:
        raise self._failure


async def test_a_pause_that_one_failure_asks_for_is_not_kept_for_the_next() -> None:
    failures, pauses, states = iter(FAILURES), [], []
    dispenser = make_dispenser()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        states.append((dispenser.health.current.state, dispenser.health.current.failing_test))
        if len(pauses) == len(FAILURES):
            raise asyncio.CancelledError

    timers = Timers(reopen=0.25, reopen_most=1.0, absent_most=90.0)
    station = Station(lambda: FailingSource(next(failures)), dispenser, timers=timers, sleep=sleep)
    with contextlib.suppress(asyncio.CancelledError):
        await station.run()
    assert pauses == [60.0, 3.0, 1.0, 1.0, 90.0]
    absent, failed = HealthState.ABSENT, HealthState.FAILED
    assert states == [
        (absent, "library-missing"),
        (absent, "no-device"),
        (failed, "busy"),
        (failed, "busy"),
        (absent, "library-missing"),
    ]
