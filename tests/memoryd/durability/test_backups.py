"""Online copies under load: each restored one is, to the last byte of every row, a state that was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memoryd.sqlite.backend import open_sqlite
from memoryd.sqlite.copy import restore_copy
from services.errors import InvalidArgumentError
from tests.memoryd.durability.history import random_batches, run_history, state_of
from tests.memoryd.running import running


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


@pytest.mark.parametrize("path", ["{file}/below/copy.db", "/proc/copy.db", "/\0/copy.db"])
async def test_a_place_that_cannot_be_written_is_named_as_such(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as memoryd:
        await memoryd.rpc.remember("a")
        with pytest.raises(InvalidArgumentError, match="path: cannot write"):
            await memoryd.rpc.backup(path.format(file=tmp_path / "memory.db"))
        assert (await memoryd.rpc.backup(f"{tmp_path}/new/copy.db")).row_count == 1


async def test_a_second_copy_to_the_same_file_is_refused_and_spoils_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as memoryd:
        tags = {"page": "x" * 32_000}
        await asyncio.gather(*(memoryd.rpc.remember(f"note {number}", tags=tags) for number in range(100)))
        copies = (memoryd.rpc.backup(f"{tmp_path}/copy.db") for _ in range(3))
        answers = await asyncio.gather(*copies, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert [getattr(one, "reason", one) for one in refused] == ["PATH_EXISTS"] * 2
    restore_copy(tmp_path / "copy.db", tmp_path / "restored" / "memory.db")
    restored = await open_sqlite(f"sqlite:///{tmp_path}/restored/memory.db")
    assert (await restored.status()).row_count == 100
    await restored.close()
