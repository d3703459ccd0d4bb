"""The health of a source as a value, and the record of its changes that watchers follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class HealthState(StrEnum):
    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILED = "failed"
    ABSENT = "absent"


@dataclass(frozen=True)
class SourceHealth:
    """`failing_test` is empty while healthy; `explanation` is one line for a person."""

    state: HealthState
    failing_test: str
    explanation: str
    since: datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


class HealthRecord:
    """The present health with a number that grows by one at each change."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self._closed = False
        self.sequence = 1
        self.current = SourceHealth(HealthState.STARTING, "", "the source is being opened", clock())

    def set(self, state: HealthState, *, failing_test: str = "", explanation: str = "") -> bool:
        """True when this is a change of state or failing test; repeated reports are not."""
        if (state, failing_test) == (self.current.state, self.current.failing_test):
            return False
        self.current = SourceHealth(state, failing_test, explanation, self._clock())
        self.sequence += 1
        self._wake()
        return True

    def close(self) -> None:
        """Ends every watch, so that a daemon can leave."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def watch(self) -> AsyncIterator[tuple[int, SourceHealth]]:
        """The present health first, then the latest after each change, until `close`."""
        while not self._closed:
            sequence, changed = self.sequence, self._changed
            yield sequence, self.current
            if sequence == self.sequence:
                await changed.wait()
