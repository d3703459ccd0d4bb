"""A large dream is applied in steps: no recall is lost meanwhile, and a crash between steps is mended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from memoryd.backend import Capability
from memoryd.dreams.plan import DreamPlan, DreamReport, RecordChange
from memoryd.dreams.plan_log import HEADER, PIECE, PlanLog, split
from memoryd.dreams.skg import Skg
from memoryd.memory import Batch, Edge, Memory, Record, RecordUpdate, Row, State
from memoryd.sqlite.backend import open_sqlite
from memoryd.store import Store
from services.errors import ResourceExhaustedError

COUNT = 2 * PIECE + 10


def plan_for(count: int) -> DreamPlan:
    changes = tuple(RecordChange(number, fidelity_factor=0.5) for number in range(count))
    connects = tuple(Edge(number, number + 1) for number in range(0, 20, 2))
    return DreamPlan(changes, (), connects, Skg(7), DreamReport(1.0))


async def filled(path: Path) -> Store:
    store = Store(await open_sqlite(f"sqlite:///{path}"))
    await store.load()
    if not len(store.mirror):
        memories = (Memory(Row(number, {"text": f"m {number}"}), Record(1, 1)) for number in range(COUNT))
        await store.commit(Batch(puts=tuple(memories)))
    return store


class _Stopping:
    """A backend that dies after a number of batches, as a crash between two of them would."""

    def __init__(self, store: Store, after: int) -> None:
        self._inner = store.backend
        self._left = after

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._inner.capabilities

    async def apply(self, batch: Batch) -> None:
        if self._left == 0:
            raise ResourceExhaustedError("stopped here", reason="STORE_FULL")
        self._left -= 1
        await self._inner.apply(batch)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_a_small_plan_is_one_batch_and_a_large_one_is_not() -> None:
    assert len(split(plan_for(10))) == 1
    assert [len(piece.changes) for piece in split(plan_for(COUNT))] == [PIECE, PIECE, 10, 0]


@pytest.mark.parametrize("batches", range(11))
async def test_a_plan_counts_whole_or_not_at_all_wherever_it_stops(tmp_path: Path, batches: int) -> None:
    store = await filled(tmp_path / "memory.db")
    inner = store.backend
    store.backend = _Stopping(store, batches)  # type: ignore[assignment]
    # header, four pieces, the header that counts, four applications, the end: eleven batches
    with pytest.raises(ResourceExhaustedError):
        await PlanLog(store).apply(plan_for(COUNT), {"skg": "new"}, "")
    await inner.close()
    store = await filled(tmp_path / "memory.db")
    await PlanLog(store).recover()
    counted = batches >= 6
    expected = 0.5 if counted else 1.0
    assert {memory.record.fidelity for memory in store.mirror.memories()} == {expected}
    assert len(store.mirror.graph) == (10 if counted else 0)
    assert await store.read_value("skg") == ("new" if counted else None)
    assert await store.read_value(HEADER) is None
    assert await store.read_value(f"{HEADER}/0") is None
    await store.backend.close()
    store = await filled(tmp_path / "memory.db")
    assert {memory.record.fidelity for memory in store.mirror.memories()} == {expected}
    await store.backend.close()


async def test_changes_made_while_a_plan_is_applied_are_kept(tmp_path: Path) -> None:
    store = await filled(tmp_path / "memory.db")
    applying = asyncio.create_task(PlanLog(store).apply(plan_for(COUNT), {}, ""))
    counted = 0
    while not applying.done():
        memory = store.mirror.get(counted % COUNT)
        assert memory is not None
        changed = Record(
            **{
                name: getattr(memory.record, name)
                for name in Record.__slots__
                if name not in ("recall_count", "state")
            },
            recall_count=memory.record.recall_count + 1,
            state=State.ACTIVE,
        )
        await store.commit(Batch(updates=(RecordUpdate(memory.memory_id, changed),)), "recalled")
        counted += 1
    await applying
    memories = list(store.mirror.memories())
    assert {memory.record.fidelity for memory in memories} == {0.5}
    assert sum(memory.record.recall_count for memory in memories) == counted > 3
    await store.backend.close()
    again = await filled(tmp_path / "memory.db")
    assert list(again.mirror.memories()) == memories
    await again.backend.close()


async def test_what_is_stored_anew_or_removed_while_a_plan_is_applied_is_left_alone(tmp_path: Path) -> None:
    store = await filled(tmp_path / "memory.db")
    rows = {memory.memory_id: memory.row for memory in store.mirror.memories()}
    applying = asyncio.create_task(PlanLog(store).apply(plan_for(COUNT), {}, "", rows))
    while await store.read_value(HEADER) is None:
        await asyncio.sleep(0)
    new = Memory(Row(2, {"text": "quite another"}), Record(1, 1))
    await store.commit(Batch(deletes=(1,), puts=(new,)))
    assert not applying.done()
    await applying
    assert store.mirror.get(2) == new
    assert store.mirror.graph.edge(0, 1) is None
    assert store.mirror.graph.edge(2, 3) is None
    assert store.mirror.graph.edge(4, 5) is not None
    assert {memory.record.fidelity for memory in store.mirror.memories() if memory.memory_id != 2} == {0.5}
    await store.backend.close()
