"""A memory that was stored while the embedder was away gets its vector when it answers again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memoryd.embedding.service import ServiceEmbedder
from memoryd.engine import open_engine
from memoryd.missing_vectors import FAILURES_IN_A_ROW
from memoryd.requests import NewMemory
from memoryd.sqlite.backend import open_sqlite
from memoryd.vector_marks import BLOCK, VectorMarks
from services.memory_client import MemoryClient
from tests.memoryd.embedding_service import (
    EmbeddingService,
    embedding_service,
    has_vector,
    until,
    vectors_come_late,
)
from tests.memoryd.running import Running, running
from tests.memoryd.test_restart import process


@pytest.fixture
async def service() -> AsyncIterator[EmbeddingService]:
    async with embedding_service() as service:
        yield service


async def test_vectors_come_late_over_a_restart(tmp_path: Path) -> None:
    await vectors_come_late(tmp_path, None)


@pytest.mark.long
async def test_kill_9_forgets_no_mark_and_no_vector(tmp_path: Path, service: EmbeddingService) -> None:
    flag = f"--embedder={service.url}"
    async with process(tmp_path, flag) as (child, addresses), MemoryClient(addresses["grpc"]) as client:
        await client.remember("weber force law")
        child.send_signal(signal.SIGKILL)
        await child.wait()
    await service.come_back()
    async with process(tmp_path, flag) as (child, addresses), MemoryClient(addresses["grpc"]) as client:
        async with asyncio.timeout(30):
            while not (await client.inspect(1)).vector_dimension:
                await asyncio.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        await child.wait()
    async with running(tmp_path) as memoryd:
        assert has_vector(memoryd, 1)


async def refuses(memoryd: Running, memory_id: int) -> str:
    """The warning of an attempt that must leave a memory without a vector."""
    await memoryd.engine.missing_vectors.make()
    memory = await memoryd.rpc.inspect(memory_id)
    assert (memory.vector_dimension, (await memoryd.rpc.status()).waiting_vector_count) == (0, 1)
    (warning,) = [line for line in (await memoryd.rpc.status()).warnings if "found by words only" in line]
    return warning


@pytest.mark.parametrize("change", [{"model": "second"}, {"dimension": 5}], ids=["model", "dimension"])
async def test_vectors_of_another_model_are_never_filled_in(
    tmp_path: Path, service: EmbeddingService, change: dict[str, object]
) -> None:
    await service.come_back()
    flag = f"--embedder={service.url}"
    async with running(tmp_path, flag) as memoryd:
        await memoryd.rpc.remember("weber force law")
        await service.go_away()
        await memoryd.rpc.remember("quantum wave")
    for name, value in change.items():
        setattr(service, name, value)
    await service.come_back()
    async with running(tmp_path, flag) as memoryd:  # the same address, and something else behind it
        assert "start memoryd with the embedder that made them" in await refuses(memoryd, 2)
    async with running(tmp_path, "--embedder=static") as memoryd:
        assert "static makes other vectors" in await refuses(memoryd, 2)
    await service.go_away()
    async with embedding_service() as moved:  # another address, and the same model behind it
        await moved.come_back()
        async with running(tmp_path, f"--embedder={moved.url}") as memoryd:
            await until(lambda: has_vector(memoryd, 2))


async def test_an_embedder_that_is_another_one_is_not_asked_again_by_every_memory(
    tmp_path: Path, service: EmbeddingService
) -> None:
    await service.come_back()
    backend = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    embedder = ServiceEmbedder(service.url)
    engine = await open_engine(backend, embedder)
    await engine.remembering.remember(NewMemory({"text": "weber force law"}))
    await service.go_away()
    await engine.remembering.remember(NewMemory({"text": "quantum wave"}))
    service.model = "second"
    await service.come_back()
    attempts = asyncio.create_task(engine.missing_vectors.run(3600.0, 3600.0))
    await until(lambda: "makes other vectors" in engine.store.warnings.get("vectors", ""))
    service.asked.clear()
    for number in range(3):
        await engine.remembering.remember(NewMemory({"text": f"note {number}"}))
    await asyncio.sleep(0.1)
    assert service.asked == ["note 0", "note 1", "note 2"]
    attempts.cancel()
    await embedder.close()
    await backend.close()


async def test_a_text_that_the_embedder_refuses_holds_up_no_other(
    tmp_path: Path, service: EmbeddingService
) -> None:
    async with running(tmp_path, f"--embedder={service.url}") as memoryd:
        refused = [f"poison {number}" for number in range(FAILURES_IN_A_ROW + 1)]
        for text in (*refused, "weber force law", "quantum wave"):
            await memoryd.rpc.remember(text)
        service.refused = set(refused)
        await service.come_back()
        vectors = memoryd.engine.missing_vectors
        await vectors.make()  # meets only refused ones
        await vectors.make()
        count = len(refused)
        assert [has_vector(memoryd, count + 1), has_vector(memoryd, count + 2)] == [True, True]
        assert vectors.waiting == count
        service.refused.clear()
        await vectors.make()
        assert (vectors.waiting, list((await memoryd.rpc.status()).warnings)) == (0, [])


async def test_what_is_removed_or_stored_anew_meanwhile_stays_so(
    tmp_path: Path, service: EmbeddingService
) -> None:
    async with running(tmp_path, f"--embedder={service.url}") as memoryd:
        for text in ("weber force law", "quantum wave", "muon with momentum"):
            await memoryd.rpc.remember(text)
        done: list[str] = []

        async def meanwhile() -> None:
            if not done:
                done.append("once")
                await memoryd.rpc.forget(1)
                row = {"id": 2, "tags": {"text": "another note"}, "vector": [1.0] * service.dimension}
                await memoryd.text("POST", "/remember", row)
                await memoryd.rpc.set_keystone(3, True)

        service.on_ask = lambda text: meanwhile()
        await service.come_back()
        await memoryd.engine.missing_vectors.make()
        await memoryd.engine.missing_vectors.make()
        assert memoryd.engine.missing_vectors.waiting == 0
        mirror = memoryd.engine.store.mirror
        assert 1 not in mirror
        assert mirror.retrieval.vectors.vector(2).tolist() == [1.0] * service.dimension  # type: ignore[union-attr]
        assert has_vector(memoryd, 3)
        assert (await memoryd.rpc.inspect(3)).keystone
    async with running(tmp_path) as memoryd:
        assert memoryd.engine.store.mirror.get(1) is None
        assert [has_vector(memoryd, number) for number in (2, 3)] == [False, True]
        assert (await memoryd.rpc.inspect(3)).keystone


async def test_attempts_go_on_by_themselves_and_stop_when_nothing_waits(
    tmp_path: Path, service: EmbeddingService
) -> None:
    async with running(tmp_path, f"--embedder={service.url}") as memoryd:
        await memoryd.rpc.remember("weber force law")
        attempts = asyncio.create_task(memoryd.engine.missing_vectors.run(0.01, 0.02))
        await service.come_back()
        await until(lambda: has_vector(memoryd, 1))
        asked = len(service.asked)
        await asyncio.sleep(0.1)
        assert len(service.asked) == asked
        attempts.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attempts


async def test_a_store_that_cannot_be_written_keeps_the_mark(
    tmp_path: Path, service: EmbeddingService
) -> None:
    flag = f"--embedder={service.url}"
    async with running(tmp_path, flag) as memoryd:
        await memoryd.rpc.remember("weber force law")
    await service.come_back()
    async with running(tmp_path, flag, "--read-only") as memoryd:
        assert "read-only" in await refuses(memoryd, 1)
    async with running(tmp_path, flag) as memoryd:
        await until(lambda: has_vector(memoryd, 1))


def test_marks_write_only_the_blocks_that_change() -> None:
    marks = VectorMarks()
    assert marks.add((1, BLOCK + 1)) == {"vectors/waiting/0": "[1]", "vectors/waiting/1": f"[{BLOCK + 1}]"}
    assert marks.add((2,)) == {"vectors/waiting/0": "[1, 2]"}
    assert (marks.ids(), len(marks), 2 in marks, 3 in marks) == ([1, 2, BLOCK + 1], 3, True, False)
    assert marks.remove((1, 3, BLOCK + 1)) == {"vectors/waiting/0": "[2]", "vectors/waiting/1": None}
    assert marks.remove((1,)) == {}
