"""Many changes of the same few memories at once: what is in memory and on the disk must stay the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from memoryd.backend import MemoryBackend
from memoryd.embedding.embedder import NoEmbedder
from memoryd.engine import Engine, open_engine
from memoryd.memory import Batch, Edge, EdgeKind, Memory
from memoryd.requests import NewMemory, RecallQuery
from memoryd.sqlite.backend import open_sqlite
from services.errors import NotFoundError, ResourceExhaustedError

Action = Callable[[], Awaitable[object]]


def actions(engine: Engine, chance: random.Random) -> list[Action]:
    def upsert() -> Awaitable[object]:
        tags = {"text": f"cat {chance.randrange(3)}"}
        return engine.remembering.remember(NewMemory(tags=tags, memory_id=chance.randrange(1, 6)))

    def connect() -> Awaitable[object]:
        first, second = chance.randrange(1, 6), chance.randrange(1, 6)
        return engine.linking.connect(first, second, kind=chance.choice(list(EdgeKind)))

    return [
        upsert,
        connect,
        lambda: engine.recalling.recall(RecallQuery(text="cat")),
        lambda: engine.linking.set_keystone(chance.randrange(1, 6), None),
        lambda: engine.linking.disconnect(chance.randrange(1, 6), chance.randrange(1, 6)),
        lambda: engine.remembering.forget(chance.randrange(1, 6)),
        lambda: engine.dreaming.dream(),
    ]


async def ignore_missing(action: Action, wait: int) -> None:
    for _ in range(wait):
        await asyncio.sleep(0)
    try:
        await action()
    except NotFoundError:
        pass


async def stored(engine: Engine) -> tuple[list[Memory], list[Edge]]:
    backend = engine.store.backend
    return await backend.scan(-1, 100), await backend.scan_edges((-1, -1), 100)


@pytest.mark.parametrize("seed", range(6))
async def test_memory_and_disk_agree_after_any_mixture(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    engine = await open_engine(await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}"), NoEmbedder())
    for _ in range(8):
        chosen = chance.choices(actions(engine, chance), weights=[5, 3, 4, 3, 2, 1, 1], k=25)
        await asyncio.gather(*(ignore_missing(action, chance.randrange(30)) for action in chosen))
        memories, edges = await stored(engine)
        assert list(engine.store.mirror.memories()) == memories
        assert sorted(engine.store.mirror.graph, key=lambda edge: edge.pair) == edges
    await engine.store.backend.close()


async def test_an_update_given_after_a_replacement_does_not_bring_the_old_record_back(tmp_path: Path) -> None:
    engine = await open_engine(await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}"), NoEmbedder())
    for _ in range(20):
        await engine.remembering.remember(NewMemory(tags={"text": "cat"}, memory_id=1))
        await asyncio.gather(
            engine.remembering.remember(NewMemory(tags={"text": "cat again"}, memory_id=1, importance=0.5)),
            ignore_missing(lambda: engine.linking.set_keystone(1, None), 1),
            ignore_missing(lambda: engine.recalling.recall(RecallQuery(text="cat")), 2),
        )
        memories, _ = await stored(engine)
        assert list(engine.store.mirror.memories()) == memories
    await engine.store.backend.close()


class _OneFailure:
    """A backend whose disk is full for one batch, and that answers the next look at a memory late."""

    def __init__(self, inner: MemoryBackend) -> None:
        self._inner = inner
        self.is_full = False
        self.looked, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def apply(self, batch: Batch) -> None:
        if self.is_full:
            self.is_full = False
            raise ResourceExhaustedError("full", reason="STORE_FULL")
        await self._inner.apply(batch)

    async def scan(self, after_id: int, limit: int) -> list[Memory]:
        found = await self._inner.scan(after_id, limit)
        self.looked.set()
        await self.go_on.wait()
        return found


async def test_a_failed_change_that_is_taken_back_leaves_a_later_one_shown(tmp_path: Path) -> None:
    inner = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    engine = await open_engine(inner, NoEmbedder())
    await engine.remembering.remember(NewMemory({"text": "cat"}, memory_id=1))
    backend = _OneFailure(inner)
    engine.store.backend, backend.is_full = backend, True  # type: ignore[assignment]
    failing = asyncio.create_task(engine.recalling.recall(RecallQuery(text="cat")))
    await backend.looked.wait()
    await engine.linking.set_keystone(1, True)
    backend.go_on.set()
    await failing
    assert (await inner.scan(-1, 9)) == list(engine.store.mirror.memories())
    assert engine.store.mirror.keystones == {1}
    await inner.close()
