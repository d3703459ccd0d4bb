"""Resuming a stream by sequence number: each event once, whatever breaks."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from services.errors import NotFoundError, UnavailableError
from services.watching import resume_stream


@dataclass(frozen=True)
class Event:
    sequence: int


async def no_sleep(seconds: float) -> None:
    pass


async def test_a_stream_cut_a_thousand_times_gives_each_event_once() -> None:
    dice = random.Random(7)
    cuts = 0

    async def open_stream(after: int) -> AsyncIterator[Event]:
        nonlocal cuts
        # A server may repeat what it is not sure to have delivered.
        for number in range(max(1, after - 1), 3001):
            if cuts < 1000 and dice.random() < 0.5:
                cuts += 1
                raise UnavailableError("cut")
            yield Event(number)

    seen = [event.sequence async for event in resume_stream(open_stream, sleep=no_sleep)]
    assert seen == list(range(1, 3001))
    assert cuts == 1000


async def test_it_gives_up_when_nothing_comes_for_long() -> None:
    async def open_stream(after: int) -> AsyncIterator[Event]:
        raise UnavailableError("down")
        yield Event(1)

    with pytest.raises(UnavailableError, match="did not come back within 20 s"):
        async for _ in resume_stream(open_stream, give_up_after=20, sleep=no_sleep):
            pass


async def test_other_errors_pass_at_once() -> None:
    async def open_stream(after: int) -> AsyncIterator[Event]:
        raise NotFoundError("no such experiment")
        yield Event(1)

    with pytest.raises(NotFoundError):
        async for _ in resume_stream(open_stream, sleep=no_sleep):
            pass
