"""Many changes of the same few memories at once: what is in memory and on the disk must stay the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from memoryd.embedding.embedder import NoEmbedder
from memoryd.engine import Engine, open_engine
from memoryd.memory import Edge, EdgeKind, Memory
from memoryd.requests import NewMemory, RecallQuery
from memoryd.sqlite.backend import open_sqlite
from services.errors import NotFoundError

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
