"""Vectors for memories that the backend gives back without one: made anew, in memory only."""

from __future__ import annotations

import asyncio

from memoryd.backend import Capability
from memoryd.embedding.embedder import Embedder
from memoryd.store import Store
from services.errors import UnavailableError

EMBEDDED_AT_ONCE = 256
RETRY_SECONDS = 30.0


class MissingVectors:
    """`waiting` counts memories that could not be embedded yet; the status says so."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._tried: set[int] = set()  # embedded before, texts without any known word included
        self.waiting = 0

    async def make(self) -> None:
        """One attempt at all that are missing. Never raises; what could not be had waits."""
        mirror = self._store.mirror
        missing = [
            memory
            for memory in mirror.memories()
            if memory.row.text and not memory.row.vector and memory.memory_id not in self._tried
        ]
        self.waiting = len(missing)
        try:
            for start in range(0, len(missing), EMBEDDED_AT_ONCE):
                page = missing[start : start + EMBEDDED_AT_ONCE]
                made = await self._embedder.embed([memory.row.text for memory in page])
                for memory, vector in zip(page, made, strict=True):
                    self._tried.add(memory.memory_id)
                    current = mirror.get(memory.memory_id)
                    if current is not None and current.row is memory.row and vector.any():
                        mirror.give_vector(memory.memory_id, vector.astype("<f4").tobytes())
                self.waiting -= len(page)
        except (UnavailableError, ValueError) as error:
            self._store.warnings["vectors"] = (
                f"{self.waiting} memories are found by words only until their vectors are made anew: {error}"
            )
        else:
            self._store.warnings.pop("vectors", None)

    async def run(self, retry_seconds: float = RETRY_SECONDS) -> None:
        """Tries again until nothing is missing: a service may answer later than the daemon starts."""
        while self.waiting:
            await asyncio.sleep(retry_seconds)
            await self.make()


def vectors_to_make(store: Store, embedder: Embedder) -> bool:
    """Whether the backend keeps vectors to itself and the embedder can make them."""
    return not store.can(Capability.VECTORS) and embedder.name != "none"
