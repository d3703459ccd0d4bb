"""Promises over many nights and many writes: forgetting loses nothing, repeats are not stored."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path

import pytest

from memoryd.dreams.dream import DreamSettings
from memoryd.dreams.dreaming import Seed
from memoryd.embedding.embedder import NoEmbedder, open_embedder
from memoryd.engine import Engine, EngineSettings, open_engine
from memoryd.memory import State
from memoryd.requests import NewMemory, RecallQuery
from memoryd.sqlite.backend import open_sqlite

DAY = 86_400


class Nights:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def open_at(
    path: Path, nights: Nights, embedder: str = "none", dream: DreamSettings | None = None
) -> Engine:
    backend = await open_sqlite(f"sqlite:///{path / 'memory.db'}")
    settings = EngineSettings(dream=dream or DreamSettings())
    return await open_engine(backend, await open_embedder(embedder), settings, now=nights)


async def remember(engine: Engine, text: str, **tags: str) -> int:
    return (await engine.remembering.remember(NewMemory(tags={"text": text, **tags}))).memory_id


def digests(engine: Engine) -> dict[int, str]:
    memories = engine.store.mirror.memories()
    return {memory.memory_id: hashlib.sha256(memory.row.text.encode()).hexdigest() for memory in memories}


async def logged_ids(engine: Engine, kind: str) -> list[int]:
    """Every id that an event of this kind names, in order."""
    found: list[int] = []
    last = 0
    while page := await engine.store.backend.read_events(last, 1000):
        found += [memory_id for event in page if event.kind == kind for memory_id in event.memory_ids]
        last = page[-1].sequence
    return found


@pytest.mark.parametrize("nights_count", [40, pytest.param(365, marks=pytest.mark.long)])
async def test_nights_of_forgetting_lose_no_text(tmp_path: Path, nights_count: int) -> None:
    """Three dreams a night; what archives fade to is pruned, which 365 nights reach and 40 do not."""
    nights, chance = Nights(), random.Random(7)
    engine = await open_at(tmp_path, nights, "static", DreamSettings(fade_archived=True))
    words = ("warmdown", "depth", "matrix", "window", "softcap", "momentum", "clip", "batch", "ratio")
    for number in range(120):
        text = f"experiment {number}: {chance.choice(words)} {chance.choice(words)} {number}"
        await engine.remembering.remember(NewMemory(tags={"text": text}, decay_alpha=0.02))
    await engine.linking.set_keystone(5, True)
    before = digests(engine)
    for _ in range(nights_count):
        for _ in range(3):
            await engine.dreaming.dream(1.0, Seed(chance.randbytes(64), "test"))
        await engine.recalling.recall(RecallQuery(text=f"experiment {chance.randrange(120)}", limit=3))
        nights.now += DAY
    assert digests(engine) == before
    mirror = engine.store.mirror
    assert mirror.count(State.ACTIVE) < 120
    pruned = [memory.memory_id for memory in mirror.memories() if memory.record.state is State.PRUNED]
    assert sorted(await logged_ids(engine, "pruned")) == pruned
    assert await logged_ids(engine, "forgotten") == []
    assert len(pruned) > 20 if nights_count == 365 else not pruned
    assert 5 not in pruned
    for number in (*range(0, 120, 30), *(memory_id - 1 for memory_id in pruned[:5])):
        found = await engine.recalling.recall(RecallQuery(text=f"experiment {number}:", limit=5))
        assert number + 1 in [hit.memory.memory_id for hit in found.memories]
    assert len(engine.recalling.search("experiment", 1000)) == 120
    await engine.store.backend.close()
    again = await open_at(tmp_path, nights)
    assert digests(again) == before
    assert list(again.store.mirror.memories()) == list(engine.store.mirror.memories())
    await again.store.backend.close()


@pytest.mark.parametrize("writes", [600, pytest.param(10_000, marks=pytest.mark.long)])
async def test_repeats_and_echoes_are_not_stored(tmp_path: Path, writes: int) -> None:
    engine, chance = await open_at(tmp_path, Nights()), random.Random(3)
    texts: list[str] = []
    acknowledged: list[str] = []

    async def write(number: int) -> None:
        if texts and number % 10 < 3:
            text = chance.choice(texts)
            if number % 2:
                text = f"  id=1 fidelity=0.987 recalls=2 text={text}"
            await remember(engine, text)
        else:
            texts.append(f"finding {number}: {chance.random():.6f}")
            await remember(engine, texts[-1], source=str(number))

    for start in range(0, writes, 100):
        await asyncio.gather(*(write(number) for number in range(start, start + 100)))
        acknowledged[:] = texts
    assert len(engine.store.mirror) == len(texts)
    assert (await engine.store.status()).row_count == len(texts)
    await engine.store.backend.close()


async def test_a_dream_goes_on_when_its_caller_gives_up(tmp_path: Path) -> None:
    engine = await open_at(tmp_path, Nights())
    for number in range(50):
        await remember(engine, f"memory {number}")
    dreaming = asyncio.create_task(engine.dreaming.dream())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    dreaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dreaming
    report = await engine.dreaming.dream()
    assert report.ticks == 50
    fidelities = {round(memory.record.fidelity, 4) for memory in engine.store.mirror.memories()}
    assert fidelities == {0.9802}  # both dreams, one after the other
    await engine.store.backend.close()


async def test_recalls_during_dreams_are_all_counted(tmp_path: Path) -> None:
    engine = await open_at(tmp_path, Nights())
    for number in range(1000):
        await remember(engine, f"cat number {number}")

    async def recall() -> None:
        await engine.recalling.recall(RecallQuery(text="cat", limit=10))

    await asyncio.gather(engine.dreaming.dream(), *(recall() for _ in range(30)), engine.dreaming.dream())
    memories = list(engine.store.mirror.memories())
    assert sum(memory.record.recall_count for memory in memories) == 300
    await engine.store.backend.close()
    backend = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    again = await open_engine(backend, NoEmbedder())
    assert list(again.store.mirror.memories()) == memories
    await backend.close()


async def test_the_same_seed_dreams_the_same(tmp_path: Path) -> None:
    reports = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        engine = await open_at(tmp_path / name, Nights(), "static")
        for number in range(40):
            await remember(engine, f"finding {number % 20} about window {number}")
        reports.append(await engine.dreaming.dream(0.6, Seed(b"\x10\x80\xf0", "test")))
        await engine.store.backend.close()
    assert reports[0] == reports[1]
    assert 0 < reports[0].ticks < 40
