"""Online copies under load: each restored one is, to the last byte of every row, a state that was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memoryd.sqlite.backend import open_sqlite
from memoryd.sqlite.copy import restore_copy
from tests.memoryd.durability.history import random_batches, run_history, state_of


async def back_up_under_load(folder: Path, *, copies: int, batches: int) -> int:
    """Takes copies one after the other while batches are stored; answers how many differed."""
    history = random_batches(batches, 11)
    reference = await open_sqlite(f"sqlite:///{folder / 'reference' / 'memory.db'}")
    states = await run_history(reference, history)  # a digest of all rows and edges after each batch
    await reference.close()
    backend = await open_sqlite(f"sqlite:///{folder / 'live' / 'memory.db'}")
    stored = 0

    async def write() -> None:
        nonlocal stored
        for batch in history:
            await backend.apply(batch)
            stored += 1

    writer = asyncio.create_task(write())
    taken: list[tuple[int, int]] = []
    for number in range(copies):
        while stored < number * batches // copies:
            await asyncio.sleep(0)
        before = stored
        result = await backend.backup(folder / f"copy{number}.db")
        taken.append((before, stored))
        assert result.byte_count == (folder / f"copy{number}.db").stat().st_size
    await writer
    await backend.close()
    different = 0
    for number, (before, after) in enumerate(taken):
        target = folder / f"restored{number}" / "memory.db"
        restore_copy(folder / f"copy{number}.db", target)
        restored = await open_sqlite(f"sqlite:///{target}")
        found = await state_of(restored)
        assert (await restored.status()).warnings == ()
        await restored.close()
        # Of the time in which the copy was made, or one batch that was durable and not yet counted.
        different += found not in states[before : after + 2]
    assert len(set(states)) == len(states)
    return different


async def test_copies_taken_under_load_are_states_that_were(tmp_path: Path) -> None:
    assert await back_up_under_load(tmp_path, copies=4, batches=120) == 0


@pytest.mark.long
async def test_thirty_copies_of_a_larger_store_are_states_that_were(tmp_path: Path) -> None:
    assert await back_up_under_load(tmp_path, copies=30, batches=600) == 0
