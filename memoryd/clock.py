"""The clock: gathers entropy at irregular ticks and dreams when enough has come together."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from memoryd.dreams.dreaming import FULL_ENTROPY, Dreaming, Seed
from memoryd.entropy_feed import BYTES_PER_TICK, EntropyFeed
from memoryd.store import Store
from services.errors import ServiceError

RESERVOIR_LIMIT = 1024
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClockState:
    """What a clock has seen; survives restarts, the reservoir's bytes and the radio flag aside.

    `source` is that of the last tick, `origin` that of every byte in the reservoir, or "mixed".
    """

    ticks: int = 0
    dreams: int = 0
    entropy_lifetime: int = 0
    reservoir: bytes = b""
    source: str = "none"
    origin: str = "none"

    @property
    def radio(self) -> str:
        return "connected" if self.source == "radio" else "disconnected"

    def deposited(self, data: bytes, source: str) -> ClockState:
        """With bytes added; beyond 1,024 the oldest go."""
        return replace(
            self,
            entropy_lifetime=self.entropy_lifetime + len(data),
            reservoir=(self.reservoir + data)[-RESERVOIR_LIMIT:],
            source=source,
            origin=source if not self.reservoir or self.origin == source else "mixed",
        )

    def consumed(self, count: int) -> tuple[ClockState, bytes]:
        """Without the oldest `count` bytes, and those bytes."""
        return replace(self, reservoir=self.reservoir[count:]), self.reservoir[:count]

    def to_json(self) -> str:
        counts = {"ticks": self.ticks, "dreams": self.dreams, "entropy_lifetime": self.entropy_lifetime}
        return json.dumps(counts)

    @staticmethod
    def from_json(text: str | None) -> ClockState:
        data = json.loads(text) if text else {}
        return ClockState(
            int(data.get("ticks", 0)), int(data.get("dreams", 0)), int(data.get("entropy_lifetime", 0))
        )

    def describe(self) -> str:
        """The text of GET /clock."""
        return (
            f"clock:\n  ticks={self.ticks}\n  dreams={self.dreams}\n"
            f"  entropy_lifetime={self.entropy_lifetime}B\n  reservoir={len(self.reservoir)}B\n"
            f"  radio={self.radio}"
        )


def pause_seconds(byte: int, nominal: float) -> float:
    """The pause that a byte chooses: 70 to 130 % of the nominal one, at least a second."""
    return max(1.0, nominal * (0.70 + byte / 255 * 0.60))


class Clock:
    def __init__(
        self,
        store: Store,
        dreaming: Dreaming,
        feed: EntropyFeed,
        *,
        tick_seconds: float = 60.0,
        threshold_bytes: int = 16,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random_byte: Callable[[], int] = lambda: os.urandom(1)[0],
    ) -> None:
        self._store = store
        self._dreaming = dreaming
        self._feed = feed
        self._tick_seconds = tick_seconds
        self._threshold = threshold_bytes
        self._sleep = sleep
        self._random_byte = random_byte
        self.state = ClockState()

    async def load(self) -> None:
        """Reads the counters of earlier starts."""
        self.state = ClockState.from_json(await self._store.read_value("clock"))

    async def run(self) -> None:
        """Ticks until it is cancelled. A tick that fails is logged and the next one follows."""
        while True:
            await self._sleep(self._next_pause())
            try:
                await self.tick()
            except ServiceError as error:
                log.warning("the clock's dream failed: %s", error)
            except Exception:  # a defect must not stop the clock for good, and unseen
                log.exception("the clock's tick failed")

    async def tick(self) -> None:
        """Fetches entropy once, and dreams when the reservoir holds enough."""
        deposit = await self._feed.fetch(BYTES_PER_TICK)
        self.state = replace(self.state, ticks=self.state.ticks + 1)
        if deposit is None:
            self.state = replace(self.state, source="none")
            return
        self.state = self.state.deposited(deposit.data, deposit.source)
        available = len(self.state.reservoir)
        if available < self._threshold:
            return
        intensity, origin = min(1.0, available / FULL_ENTROPY), self.state.origin
        self.state, seed = self.state.consumed(min(available, FULL_ENTROPY))
        await self._dreaming.dream(intensity, Seed(seed, origin))
        self.state = replace(self.state, dreams=self.state.dreams + 1)
        await self._store.write_values({"clock": self.state.to_json()})

    def _next_pause(self) -> float:
        if self.state.reservoir:
            self.state, byte = self.state.consumed(1)
            return pause_seconds(byte[0], self._tick_seconds)
        return pause_seconds(self._random_byte(), self._tick_seconds)
