"""What is done to a memory while a dream is planned counts more than the plan."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from memoryd.dreams.dream import DreamSettings
from memoryd.embedding.embedder import NoEmbedder
from memoryd.engine import Engine, EngineSettings, open_engine
from memoryd.memory import EdgeKind, State
from memoryd.requests import NewMemory
from memoryd.sqlite.backend import open_sqlite


class Pausing(DreamSettings):
    """Settings that hold the planning thread where it asks for the number of anchors, after the merging."""

    reached: threading.Event
    go_on: threading.Event

    def __getattribute__(self, name: str) -> object:
        if name == "anchors":
            object.__getattribute__(self, "reached").set()
            object.__getattribute__(self, "go_on").wait(30)
        return super().__getattribute__(name)


def pausing() -> Pausing:
    settings = Pausing()
    object.__setattr__(settings, "reached", threading.Event())
    object.__setattr__(settings, "go_on", threading.Event())
    return settings


@pytest.fixture
def settings() -> Pausing:
    return pausing()


@pytest.fixture
async def engine(tmp_path: Path, settings: Pausing) -> AsyncIterator[Engine]:
    """Memories 1 and 2 are alike: a dream merges 1 behind 2. 3 is a neighbour of 1."""
    backend = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    engine = await open_engine(backend, NoEmbedder(), EngineSettings(dream=settings))
    for number, vector in ((1, (1.0, 0.0)), (2, (1.0, 0.001)), (3, (0.0, 1.0))):
        await engine.remembering.remember(NewMemory({"text": f"note {number}"}, vector, number))
    await engine.linking.connect(1, 3)
    yield engine
    await backend.close()


async def dream_while(
    engine: Engine, settings: Pausing, action: Callable[[], Awaitable[object]]
) -> dict[int, State]:
    """The states of all memories after a dream during whose planning something was done."""
    dream = asyncio.create_task(engine.dreaming.dream())
    await asyncio.to_thread(settings.reached.wait, 30)
    await action()
    settings.go_on.set()
    assert (await dream).consolidated_ids == (1, 2)
    stored = await engine.store.backend.scan(-1, 10)
    assert stored == list(engine.store.mirror.memories())
    return {memory.memory_id: memory.record.state for memory in stored}


async def test_without_interference_the_plan_holds(engine: Engine, settings: Pausing) -> None:
    states = await dream_while(engine, settings, lambda: asyncio.sleep(0))
    assert states == {1: State.ARCHIVED, 2: State.ACTIVE, 3: State.ACTIVE}
    edge = engine.store.mirror.graph.edge(1, 2)
    assert edge is not None
    assert edge.kind is EdgeKind.CAUSAL


async def test_a_new_keystone_is_not_archived(engine: Engine, settings: Pausing) -> None:
    states = await dream_while(engine, settings, lambda: engine.linking.set_keystone(1, True))
    assert states[1] is State.ACTIVE


async def test_a_memory_that_is_stored_anew_is_left_alone(engine: Engine, settings: Pausing) -> None:
    new = NewMemory({"text": "quite another"}, (0.0, -1.0), 1)
    states = await dream_while(engine, settings, lambda: engine.remembering.remember(new))
    assert states == {1: State.ACTIVE, 2: State.ACTIVE, 3: State.ACTIVE}
    assert engine.store.mirror.graph.edge(1, 2) is None
    assert engine.store.mirror.graph.edge(1, 3) is not None
    known = engine.store.mirror.get(1)
    assert known is not None
    assert (known.record.fidelity, known.record.decay_alpha) == (1.0, 0.01)


@pytest.mark.parametrize("gone", [1, 2])
async def test_no_edge_hangs_on_a_memory_that_was_removed(
    engine: Engine, settings: Pausing, gone: int
) -> None:
    states = await dream_while(engine, settings, lambda: engine.remembering.forget(gone))
    assert set(states.values()) == {State.ACTIVE}  # nothing is archived behind what is not there
    assert all(gone not in edge.pair for edge in engine.store.mirror.graph)
