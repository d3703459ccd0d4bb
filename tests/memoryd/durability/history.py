"""A history of batches whose every state is known by its digest."""

from __future__ import annotations

import random
from collections.abc import Callable

from memoryd.backend import MemoryBackend
from memoryd.memory import Batch, Edge, EdgeKind, Event, Memory, Record, RecordUpdate, Row
from memoryd.store_copy import store_digest


def random_batches(count: int, seed: int) -> list[Batch]:
    """Memories, recalls, dreams, edges, deletes and named values, as the engine writes them."""
    rng = random.Random(seed)
    batches: list[Batch] = []
    ids: list[int] = []
    for number in range(1, count + 1):
        event = Event(number, number, "changed", (number,))
        values = {f"key/{number}": str(number), "mood": str(rng.random())}
        record = Record(number, number, fidelity=rng.random(), recall_count=number)
        kind = rng.random()
        if kind < 0.6 or len(ids) < 3:
            text = f"run {number} " + "x" * rng.randrange(600)
            row = Row(number, {"text": text, "channel": "hearing"}, rng.randbytes(4 * 64))
            batches.append(Batch(puts=(Memory(row, record),), values=values, events=(event,)))
            ids.append(number)
        elif kind < 0.8:
            updates = tuple(RecordUpdate(one, record) for one in rng.sample(ids, min(len(ids), 40)))
            batches.append(Batch(updates=updates, values=values, events=(event,)))
        elif kind < 0.95:
            edge = Edge(rng.choice(ids), rng.choice(ids), f"edge {number}", EdgeKind.CAUSAL, rng.random())
            batches.append(Batch(connects=(edge,), events=(event,)))
        else:
            gone = ids.pop(rng.randrange(len(ids)))
            batches.append(Batch(deletes=(gone,), values={f"key/{gone}": None}, events=(event,)))
    return batches


async def run_history(
    backend: MemoryBackend, batches: list[Batch], acknowledged: Callable[[], None] = lambda: None
) -> list[str]:
    """Applies the batches one by one; the state of the store before the first and after each."""
    digests = [await state_of(backend)]
    for batch in batches:
        await backend.apply(batch)
        acknowledged()
        digests.append(await state_of(backend))
    return digests


async def state_of(backend: MemoryBackend) -> str:
    """A digest that is another one after each batch: of all memories and edges, and of the last event."""
    return f"{(await backend.status()).last_sequence} {await store_digest(backend)}"
