"""`os:` the operating system's generator, named as such."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Self

from entropyd.source import Chunk, EntropySource, SourceDescription, SourceKind

CHUNK_BYTES = 4096


class OsSource:
    """Finished bytes of os.urandom, one chunk every `interval` seconds. Holds nothing open."""

    def __init__(
        self,
        *,
        interval: float = 0.1,
        random_bytes: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._interval = interval
        self._random_bytes = random_bytes
        self._sleep = sleep
        self._sequence = 0

    @property
    def description(self) -> SourceDescription:
        return SourceDescription(SourceKind.OS, "os:urandom", raw=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def read(self) -> Chunk:
        if self._sequence:
            await self._sleep(self._interval)
        chunk = Chunk(self._random_bytes(CHUNK_BYTES), self._sequence, time.monotonic(), CHUNK_BYTES)
        self._sequence += 1
        return chunk


_: type[EntropySource] = OsSource
