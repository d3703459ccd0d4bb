"""MemoryService over a real channel: what each RPC answers, and its documented failures."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from autoresearch.memory.v1 import memory_pb2 as pb

from services.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from tests.memoryd.running import Running


async def test_recall_returns_the_nearest_first_and_counts_it(memoryd: Running) -> None:
    await memoryd.rpc.remember("cats purr")
    await memoryd.rpc.remember("dogs bark loudly at night")
    found = await memoryd.rpc.recall("does a cat purr", limit=5)
    assert [hit.memory.text for hit in found] == ["cats purr"]
    assert 0 < found[0].score <= 1
    assert {arm.arm for arm in found[0].arms} >= {"bm25"}
    assert found[0].memory.recall_count == 1
    assert (await memoryd.rpc.inspect(1)).decay_alpha == pytest.approx(0.0095)


async def test_recall_can_say_that_nothing_is_known(memoryd: Running) -> None:
    await memoryd.rpc.remember("warmdown ratio 0.4 helped at depth 8")
    assert await memoryd.rpc.recall("rotary base of 500000", minimum_score=0.2) == []


async def test_filters_apply_before_the_limit(memoryd: Running) -> None:
    for number in range(20):
        await memoryd.rpc.remember(f"depth {number} was tried", tags={"verdict": "discard"})
    await memoryd.rpc.remember("depth of a long and winding text that matches less", tags={"verdict": "keep"})
    found = await memoryd.rpc.recall("depth tried", limit=1, tags={"verdict": "keep"})
    assert [hit.memory.memory_id for hit in found] == [21]
    archived = await memoryd.rpc.recall("depth", states=[pb.MEMORY_STATE_ARCHIVED])
    assert archived == []
    newest = await memoryd.rpc.recall("", limit=2, tags={"verdict": "discard"})
    assert [hit.memory.memory_id for hit in newest] == [20, 19]


async def test_the_same_key_stores_once_even_at_the_same_time(memoryd: Running) -> None:
    answers = await asyncio.gather(
        *(memoryd.rpc.remember("one", idempotency_key="k1") for _ in range(10)),
        *(memoryd.rpc.remember("the same text twice") for _ in range(10)),
    )
    assert {answer.memory_id for answer in answers[:10]} == {answers[0].memory_id}
    assert sum(answer.created for answer in answers[:10]) == 1
    assert sum(answer.created for answer in answers[10:]) == 1
    assert (await memoryd.rpc.status()).row_count == 2
    with pytest.raises(AlreadyExistsError) as caught:
        await memoryd.rpc.remember("two", idempotency_key="k1")
    assert caught.value.reason == "IDEMPOTENCY_CONFLICT"


async def test_an_echo_is_not_stored_again(memoryd: Running) -> None:
    first = await memoryd.rpc.remember("cats purr", tags={"experiment": "e1"})
    echoes = ["cats purr", "  id=1 fidelity=1.000 recalls=3 text=cats purr"]
    for echo in echoes:
        again = await memoryd.rpc.remember(echo)
        assert (again.memory_id, again.created) == (first.memory_id, False)
        assert list(again.duplicate_ids) == [first.memory_id]
    other = await memoryd.rpc.remember("cats purr", tags={"experiment": "e2"})
    assert other.created
    assert list(other.duplicate_ids) == [first.memory_id]


async def test_a_change_that_was_tried_before_is_noticed(memoryd: Running) -> None:
    diff = "--- a/train.py\n+++ b/train.py\n@@ -3 +3 @@\n-MATRIX_LR = 0.04\n+MATRIX_LR = 0.05  # faster\n"
    first = await memoryd.rpc.remember("faster matrices: worse", tags={"diff": diff})
    again = diff.replace("@@ -3 +3 @@", "@@ -90 +91 @@").replace("0.05  # faster", "5e-2")
    second = await memoryd.rpc.remember("let us try more speed", tags={"diff": again})
    assert (second.created, list(second.duplicate_ids)) == (True, [first.memory_id])
    third = await memoryd.rpc.remember("a", tags={"hyperparameters": '{"DEPTH": 8, "MATRIX_LR": 0.04}'})
    fourth = await memoryd.rpc.remember("b", tags={"hyperparameters": "matrix_lr=0.0401, depth=8"})
    assert list(fourth.duplicate_ids) == [third.memory_id]
    await memoryd.rpc.forget(third.memory_id)
    fifth = await memoryd.rpc.remember("c", tags={"hyperparameters": "matrix_lr=0.05, depth=8"})
    assert list(fifth.duplicate_ids) == []


async def test_memories_are_listed_in_pages(memoryd: Running) -> None:
    for number in range(7):
        await memoryd.rpc.remember(f"memory {number}")
    seen: list[int] = []
    token = ""
    while True:
        page = await memoryd.rpc.list_memories(page_size=3, page_token=token)
        seen += [memory.memory_id for memory in page.memories]
        token = page.next_page_token
        if not token:
            break
    assert seen == [1, 2, 3, 4, 5, 6, 7]


async def test_edges_keystones_and_forgetting(memoryd: Running) -> None:
    for text in ("one", "two", "three"):
        await memoryd.rpc.remember(text)
    edge = await memoryd.rpc.connect(1, 2, label="leads to", kind=pb.EDGE_KIND_CAUSAL)
    assert (edge.label, edge.kind, edge.weight) == ("leads to", pb.EDGE_KIND_CAUSAL, 1.0)
    assert [found.from_memory_id for found in (await memoryd.rpc.neighbors(2)).causal_predecessors] == [1]
    assert (await memoryd.rpc.set_keystone(1, True)).keystone
    assert (await memoryd.rpc.set_keystone(1, True)).keystone
    assert await memoryd.rpc.disconnect(2, 1)
    assert not await memoryd.rpc.disconnect(2, 1)
    await memoryd.rpc.connect(2, 3)
    await memoryd.rpc.forget(3)
    assert (await memoryd.rpc.status()).edge_count == 0
    with pytest.raises(NotFoundError) as caught:
        await memoryd.rpc.inspect(3)
    assert caught.value.metadata == {"memory_id": "3"}


async def test_a_dream_reports_its_seed_and_can_be_repeated(memoryd: Running) -> None:
    await memoryd.rpc.remember("one")
    report = await memoryd.rpc.dream(intensity=0.5, seed=b"\x01\xff")
    assert (report.ticks, report.seed, report.seed_source) == (1, b"\x01\xff", "caller")
    assert list(report.active_archetypes) == ["Intuition", "Fortune"]
    assert report.text.startswith("dream complete:\n")
    offered = await memoryd.rpc.offer_entropy(bytes(32), "dice")
    assert offered.intensity == 0.5
    assert offered.report.seed_source == "dice"


async def test_status_and_identity_say_what_runs(memoryd: Running, tmp_path: Path) -> None:
    status = await memoryd.rpc.status()
    assert status.backend == f"sqlite:{tmp_path / 'memory.db'}"
    assert status.embedder == "none"
    assert set(status.capabilities) == {"atomic", "vectors", "records", "values", "events", "backup"}
    identity = await memoryd.rpc.identity()
    assert json.loads(identity.identity_json)["agent_id"] == identity.agent_id


async def test_watchers_see_every_change_once_and_can_resume(memoryd: Running) -> None:
    await memoryd.rpc.remember("one")
    await memoryd.rpc.remember("two")
    seen: list[tuple[int, str]] = []

    async def watch(after: int, count: int) -> None:
        async for event in memoryd.rpc.watch_events(after_sequence=after):
            seen.append((event.sequence, event.kind))
            if len(seen) == count:
                return

    first = asyncio.create_task(watch(1, 3))
    await asyncio.sleep(0.05)
    await memoryd.rpc.set_keystone(1, True)
    await memoryd.rpc.recall("two")
    await asyncio.wait_for(first, 10)
    assert [kind for _, kind in seen] == ["remembered", "keystone set", "recalled"]
    last = seen[-1][0]
    await memoryd.rpc.forget(1)
    await asyncio.wait_for(watch(last, 4), 10)
    assert seen[-1] == (last + 1, "forgotten")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.RememberRequest(), "INVALID_ARGUMENT"),
        (pb.RememberRequest(text="a", tags={"text": "b"}), "INVALID_ARGUMENT"),
        (pb.RememberRequest(text="a" * (1024 * 1024 + 1)), "TEXT_TOO_LARGE"),
        (pb.RememberRequest(text="a", vector=[float("nan")]), "INVALID_VECTOR"),
        (pb.RememberRequest(text="a", vector=[float("inf"), 1]), "INVALID_VECTOR"),
        (pb.RememberRequest(text="a", vector=[1, 2]), "DIMENSION_MISMATCH"),
        (pb.RememberRequest(text="a", importance=float("nan")), "INVALID_ARGUMENT"),
        (pb.RememberRequest(text="a", idempotency_key="k" * 201), "INVALID_ARGUMENT"),
        (pb.RecallRequest(), "INVALID_QUERY"),
        (pb.RecallRequest(text="a", limit=101), "INVALID_ARGUMENT"),
        (pb.RecallRequest(text="a", limit=-1), "INVALID_ARGUMENT"),
        (pb.RecallRequest(vector=[1, 2]), "DIMENSION_MISMATCH"),
        (pb.RecallRequest(text="a", states=[0]), "UNSPECIFIED_ENUM"),
        (pb.SearchRequest(text=" "), "INVALID_QUERY"),
        (pb.SearchRequest(text="a", vector_weight=2), "INVALID_ARGUMENT"),
        (pb.SearchRequest(text="a", limit=1001), "INVALID_ARGUMENT"),
        (pb.ListMemoriesRequest(page_token="???"), "INVALID_PAGE_TOKEN"),
        (pb.ListMemoriesRequest(page_size=501), "INVALID_ARGUMENT"),
        (pb.DreamRequest(intensity=1.5), "INVALID_ARGUMENT"),
        (pb.DreamRequest(intensity=float("nan")), "INVALID_ARGUMENT"),
        (pb.OfferEntropyRequest(), "INVALID_ENTROPY"),
        (pb.ConnectRequest(from_memory_id=1, to_memory_id=2, kind=9), "UNSPECIFIED_ENUM"),
        (pb.BackupStoreRequest(path="relative.db"), "INVALID_ARGUMENT"),
        (pb.WatchEventsRequest(after_sequence=-1), "INVALID_ARGUMENT"),
    ],
)
async def test_bad_requests_are_refused_with_their_reason(
    vectored: Running, request_: object, reason: str
) -> None:
    before = await vectored.rpc.status()
    name = type(request_).__name__.removesuffix("Request")
    with pytest.raises(InvalidArgumentError) as caught:
        if name == "WatchEvents":
            async for _ in vectored.rpc._stream(vectored.rpc._stub.WatchEvents, request_, timeout=10):
                break
        else:
            await vectored.rpc._call(getattr(vectored.rpc._stub, name), request_)
    assert caught.value.reason == reason
    assert await vectored.rpc.status() == before


async def test_a_backup_is_written_while_others_write(memoryd: Running, tmp_path: Path) -> None:
    for number in range(20):
        await memoryd.rpc.remember(f"memory {number}")
    stop = asyncio.Event()

    async def write() -> None:
        number = 100
        while not stop.is_set():
            await memoryd.rpc.remember(f"memory {number}")
            number += 1

    writer = asyncio.create_task(write())
    result = await memoryd.rpc.backup(str(tmp_path / "copies" / "first.db"))
    stop.set()
    await writer
    assert result.row_count >= 20
    assert result.byte_count == (tmp_path / "copies" / "first.db").stat().st_size
    with pytest.raises(AlreadyExistsError):
        await memoryd.rpc.backup(str(tmp_path / "copies" / "first.db"))


def test_every_reason_in_the_code_is_documented_in_the_proto() -> None:
    documented = (
        Path("proto/autoresearch/memory/v1/memory.proto").read_text().split("service MemoryService")[0]
    )
    local = {  # of the start and of verbs: never on the wire
        *("STORE_TOO_NEW", "STORE_IN_USE", "STORE_LOST"),
        *("MIGRATION_DIFFERS", "TARGET_NOT_EMPTY"),
    }
    used = {
        reason
        for path in Path("memoryd").glob("*.py")
        for reason in re.findall(r"reason=\"([A-Z_]+)\"", path.read_text())
    }
    assert used - local - set(re.findall(r"[A-Z][A-Z_]+", documented)) == set()
