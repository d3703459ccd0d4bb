"""Resumes a watch stream by sequence number until it ends by itself: each event once, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from services.errors import CanceledError, DeadlineExceededError, InternalError, UnavailableError


class Sequenced(Protocol):
    """An event that carries its number; 0 for events that are not replayed."""

    @property
    def sequence(self) -> int: ...


EventT = TypeVar("EventT", bound=Sequenced)


async def resume_stream(
    open_stream: Callable[[int], AsyncIterator[EventT]],
    *,
    after_sequence: int = 0,
    give_up_after: float = 60.0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[EventT]:
    """Yields the events of `open_stream(after)`, reopened from the last sequence seen when the link breaks.

    Raises UnavailableError when nothing could be received for `give_up_after` seconds of back-off in all;
    other errors of the daemon (NotFoundError, …) pass at once.
    """
    waited, delay = 0.0, 0.1
    while True:
        try:
            async for event in open_stream(after_sequence):
                waited, delay = 0.0, 0.1
                if event.sequence:
                    if event.sequence <= after_sequence:
                        continue
                    after_sequence = event.sequence
                yield event
            return
        except (UnavailableError, DeadlineExceededError, CanceledError, InternalError) as error:
            # A connection cut in the middle of a message is reported as INTERNAL or CANCELLED as well.
            if waited >= give_up_after:
                raise UnavailableError(
                    f"the stream broke and did not come back within {give_up_after:.0f} s: {error.message}",
                    reason="STREAM_LOST",
                ) from error
            pause = delay * random.uniform(0.8, 1.2)
            await sleep(pause)
            waited += pause
            delay = min(delay * 2, 3.0)
