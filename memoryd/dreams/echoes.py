"""What an embedding service still makes of the vectors of memories that are about to be pruned."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import numpy as np

from memoryd.embedding.embedder import Embedder
from memoryd.memory import Memory, unpack_vector
from services.errors import UnavailableError

ECHO_LIKENESS = 0.5  # cosine between the vector and that of the text made from it
ECHO_SECONDS = 20.0


async def find_echoes(embedder: Embedder, memories: Sequence[Memory]) -> dict[int, str | None]:
    """The echo of each memory, None where there is none; memories that time did not allow are left out.

    Without a service that answers, nothing has an echo. Never raises.
    """
    if not memories:
        return {}
    if not await embedder.reachable():
        return dict.fromkeys(memory.memory_id for memory in memories)
    echoes: dict[int, str | None] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ECHO_SECONDS):
            for memory in memories:
                echoes[memory.memory_id] = await find_echo(embedder, memory.row.vector)
    return echoes


async def find_echo(embedder: Embedder, vector: bytes) -> str | None:
    """The text that a vector stands for, if embedding it again leads back near the vector."""
    numbers = np.frombuffer(vector, dtype="<f4").astype(np.float64)
    if not numbers.any():
        return None
    text = await embedder.invert(unpack_vector(vector))
    if text is None or not text.strip():
        return None
    try:
        again = (await embedder.embed([text]))[0].astype(np.float64)
    except UnavailableError:
        return None
    if again.shape != numbers.shape or not again.any():
        return None
    likeness = float(numbers @ again) / float(np.linalg.norm(numbers) * np.linalg.norm(again))
    return text if likeness >= ECHO_LIKENESS else None
