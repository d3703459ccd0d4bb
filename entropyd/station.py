"""Keeps the source running: opens it, feeds its chunks on, and opens it again when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from entropyd.dispenser import Dispenser
from entropyd.health import HealthState
from entropyd.source import EntropySource, SourceKind


class Station:
    """`run` never returns by itself; cancel it to stop."""

    def __init__(self, open_source: Callable[[], EntropySource], dispenser: Dispenser) -> None:
        self._open_source = open_source
        self._dispenser = dispenser

    async def run(self) -> None:
        source = self._open_source()
        if source.description.kind is SourceKind.OS:
            self._dispenser.health.set(
                HealthState.ABSENT,
                failing_test="no-radio",
                explanation="no radio is configured; the operating system answers",
            )
        await asyncio.Event().wait()
