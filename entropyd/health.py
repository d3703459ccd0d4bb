"""The health of a source as a value, and the record of its changes that watchers follow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

REMEMBERED_CHANGES = 256


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
        self._history = deque([(self.sequence, self.current)], maxlen=REMEMBERED_CHANGES)

    def set(self, state: HealthState, *, failing_test: str = "", explanation: str = "") -> bool:
        """True when this is a change of state or failing test; repeated reports are not, their newest
        explanation counts."""
        if (state, failing_test) == (self.current.state, self.current.failing_test):
            self.current = replace(self.current, explanation=explanation)
            self._history[-1] = (self.sequence, self.current)
            return False
        self.current = SourceHealth(state, failing_test, explanation, self._clock())
        self.sequence += 1
        self._history.append((self.sequence, self.current))
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
        """The present health first, then every change, until `close`; a watcher that falls more than 256
        changes behind misses the oldest of them."""
        seen = self.sequence - 1
        while not self._closed:
            changed = self._changed
            for sequence, health in list(self._history):
                if sequence > seen:
                    seen = sequence
                    yield sequence, health
            if seen == self.sequence and not self._closed:
                await changed.wait()
