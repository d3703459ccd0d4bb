"""Corners of the engine: vectors of another embedder, failing disks, unreachable embedders, verbs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest
from aiohttp import web

from memoryd.__main__ import run
from memoryd.memory import Batch, Edge, Emotion, Memory, Record, Row, pack_vector
from memoryd.sqlite.backend import open_sqlite
from memoryd.sqlite.writer import explain
from services.errors import ConfigurationError, NotFoundError, UnavailableError
from tests.memoryd.running import Running, running


async def test_a_store_of_other_vectors_goes_on_by_words(tmp_path: Path) -> None:
    async with running(tmp_path, "--embedder=static") as memoryd:
        row = {"id": 1, "tags": {"text": "weber bracket newton"}, "vector": [1, 0, 0]}
        await memoryd.text("POST", "/remember", row)
        stored = await memoryd.rpc.remember("weber force law")
        assert (await memoryd.rpc.inspect(stored.memory_id)).vector_dimension == 0
        assert any(
            "choose" in text or "use the embedder" in text for text in (await memoryd.rpc.status()).warnings
        )
        assert len(await memoryd.rpc.recall("weber force")) == 2


async def test_an_embedder_that_is_away_costs_the_vector_only(tmp_path: Path) -> None:
    async with running(tmp_path, "--embedder=http://127.0.0.1:9") as memoryd:
        stored = await memoryd.rpc.remember("weber force law")
        assert stored.created
        assert (await memoryd.rpc.recall("weber"))[0].memory.vector_dimension == 0
        assert any("without a vector" in text for text in (await memoryd.rpc.status()).warnings)


async def test_an_embedder_that_is_back_is_no_warning_any_more(tmp_path: Path) -> None:
    is_away = False

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"error": "away"} if is_away else {"embedding": [1.0, 0.5]})

    service = web.Application()
    service.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(service)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with running(tmp_path, f"--embedder=http://127.0.0.1:{runner.addresses[0][1]}") as memoryd:
        await memoryd.rpc.remember("weber force law")
        is_away = True
        assert len(await memoryd.rpc.recall("weber")) == 1
        (warning,) = (await memoryd.rpc.status()).warnings
        assert warning.startswith("searched by words only: ")
        is_away = False
        await memoryd.rpc.recall("weber")
        assert list((await memoryd.rpc.status()).warnings) == []
    await runner.cleanup()


async def test_rows_that_fail_their_checksum_are_set_aside(tmp_path: Path) -> None:
    async with running(tmp_path) as memoryd:
        for text in ("one", "two", "three"):
            await memoryd.rpc.remember(text)
        await memoryd.rpc.connect(1, 2)
    connection = apsw.Connection(str(tmp_path / "memory.db"))
    connection.execute("UPDATE memory SET tags = replace(tags, 'two', 'owt')")
    connection.execute("UPDATE edge SET label = 'forged'")
    connection.close()
    async with running(tmp_path) as memoryd:
        assert [memory.text for memory in (await memoryd.rpc.list_memories()).memories] == ["one", "three"]
        (warning,) = (await memoryd.rpc.status()).warnings
        assert "2 stored items fail their checksum and are set aside: edge 1-2, memory 2" in warning
        assert (await memoryd.rpc.remember("four")).memory_id == 4


async def test_one_bad_batch_does_not_fail_those_beside_it(tmp_path: Path) -> None:
    backend = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    good = [Batch(puts=(Memory(Row(number, {"text": "a"}), Record(1, 1)),)) for number in range(5)]
    bad = Batch(puts=(Memory(Row(2**70, {"text": "a"}), Record(1, 1)),))
    work = [backend.apply(batch) for batch in (*good[:3], bad, *good[3:])]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [UnavailableError] + [type(None)] * 2
    assert (await backend.status()).row_count == 5
    await backend.close()
    with pytest.raises(UnavailableError):
        await backend.apply(good[0])


async def test_what_is_stored_comes_back_as_it_was(tmp_path: Path) -> None:
    memory = Memory(
        Row(7, {"text": "é\n\u2028'\"", "a": ""}, pack_vector([0.1, -2.5])),
        Record(
            5, 6, 0.25, 0.002, recall_count=3, importance=1.5, emotion=Emotion("joy"), consolidated_from=(1,)
        ),
    )
    edge = Edge(9, 7, "x -> y", weight=0.1)
    backend = await open_sqlite(f"sqlite:///{tmp_path / 'memory.db'}")
    await backend.apply(Batch(puts=(memory,), connects=(edge,), values={"a": "b", "gone": None}))
    assert await backend.scan(-1, 10) == [memory]
    assert await backend.scan_edges((-1, -1), 10) == [edge]
    assert await backend.read_value("a") == "b"
    assert await backend.read_value("gone") is None
    await backend.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (apsw.FullError("full"), "STORE_FULL"),
        (apsw.ReadOnlyError("ro"), "STORE_READ_ONLY"),
        (apsw.CorruptError("bad"), "STORE_CORRUPT"),
        (apsw.NotADBError("bad"), "STORE_CORRUPT"),
        (apsw.IOError("io"), "STORE_FAILED"),
        (apsw.ConstraintError("c"), "STORE_UNREACHABLE"),
    ],
)
def test_every_error_of_sqlite_has_a_reason(error: apsw.Error, reason: str) -> None:
    assert explain(error).reason == reason


def test_an_unknown_verb_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="use bench, mcp, migrate or restore"):
        run(["serve"])


def test_a_damaged_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 8000)
    with pytest.raises(ConfigurationError, match="restore"):
        run([f"--backend=sqlite:///{path}", "--embedder=none", "--listen=127.0.0.1:0"])


async def test_watchers_can_read_what_is_no_longer_in_memory(tmp_path: Path) -> None:
    async with running(tmp_path) as memoryd:
        for number in range(5):
            await memoryd.rpc.remember(f"memory {number}")
    async with running(tmp_path) as memoryd:
        seen = []
        async for event in memoryd.engine.store.events(2):
            seen.append(event.sequence)
            if len(seen) == 3:
                break
        assert seen == [3, 4, 5]
        with pytest.raises(NotFoundError):
            await memoryd.rpc.set_keystone(99, True)


async def test_a_watch_from_now_on_sees_what_is_being_stored(tmp_path: Path) -> None:
    async with running(tmp_path) as memoryd:
        store = memoryd.engine.store
        memory = Memory(Row(7, {"text": "on its way"}), Record(1, 1))
        storing = asyncio.create_task(store.commit(Batch(puts=(memory,)), "remembered", (7,)))
        await asyncio.sleep(0)
        assert 7 not in store.mirror
        event = await asyncio.wait_for(anext(store.events(0)), 5)
        assert (event.kind, event.memory_ids) == ("remembered", (7,))
        await storing
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(store.events(0)), 0.05)


async def test_a_caller_that_hangs_up_is_no_defect(
    memoryd: Running, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(memoryd.url.rpartition(":")[2]))
    writer.write(b"POST /remember HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await memoryd.text("GET", "/status")  # the daemon has begun to read
    writer.close()
    for _ in range(20):
        await memoryd.text("GET", "/status")
    assert not [record for record in caplog.records if record.exc_info]
