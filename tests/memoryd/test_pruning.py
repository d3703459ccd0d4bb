"""The end of forgetting: faded records go, with their edges, and are logged; their texts stay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from memoryd.dreams.dream import DreamInput, DreamSettings, plan_dream
from memoryd.dreams.plan import DreamPlan, RecordChange
from memoryd.dreams.pruning import FADED_BELOW, PRUNED_PER_DREAM, fading
from memoryd.dreams.skg import Skg
from memoryd.ferricula.backend import open_ferricula
from memoryd.graph import Graph
from memoryd.memory import Batch, Edge, EdgeKind, Memory, Record, Row, State, pack_vector
from memoryd.requests import NewMemory, RecallQuery
from memoryd.sqlite.backend import open_sqlite
from services.errors import NotFoundError
from tests.memoryd.running import Running, running

NOW = 1_800_000_000
FADED = Record(NOW, NOW, fidelity=1e-8, state=State.ARCHIVED, recall_count=4)


def dream(
    records: Mapping[int, Record],
    echoes: Mapping[int, str | None],
    *edges: Edge,
    fade_archived: bool = False,
) -> DreamPlan:
    graph = Graph()
    for edge in edges:
        graph.connect(edge)
    settings = DreamSettings(fade_archived=fade_archived)
    return plan_dream(
        DreamInput(
            records, graph, {}, lambda *_: None, {}, Skg(), 1.0, b"", "test", NOW, settings, echoes=echoes
        )
    )


def test_a_faded_record_goes_with_its_edges_and_leaves_an_echo_on_each_neighbour() -> None:
    records = {1: FADED, 2: replace(FADED, fidelity=0.9), 3: replace(FADED, keystone=True), 4: FADED}
    edges = (
        Edge(1, 2),
        Edge(1, 3, "next", EdgeKind.CAUSAL),
        Edge(4, 1, "cause", EdgeKind.CAUSAL),
        Edge(1, 1),
    )
    plan = dream(records, {1: "a longer warmdown", 3: "never"}, *edges)
    assert plan.report.pruned_ids == (1,)
    assert plan.report.ghost_echoes == 2
    assert set(plan.disconnects) == {(1, 1), (1, 2), (1, 3), (1, 4)}
    label = "echo:a longer warmdown"
    assert plan.connects == (Edge(2, 2, label, weight=0.1), Edge(3, 3, label, weight=0.1))
    assert [change.state for change in plan.changes if change.memory_id == 1] == [State.PRUNED]


def test_an_echo_without_a_neighbour_counts_and_silence_does_not() -> None:
    assert dream({1: FADED}, {1: "echo"}).report.ghost_echoes == 1
    silent = dream({1: FADED}, {1: None}, Edge(1, 2)).report
    assert (silent.pruned_ids, silent.ghost_echoes) == ((1,), 0)


def test_only_archived_records_below_the_bound_are_pruned_and_only_in_their_turn() -> None:
    kept = {
        1: replace(FADED, fidelity=FADED_BELOW),
        2: replace(FADED, state=State.ACTIVE),
        3: replace(FADED, state=State.PRUNED),
        4: FADED,
    }
    assert dream(kept, dict.fromkeys((1, 2, 3))).report.pruned_ids == ()
    assert fading(kept.items()) == [1, 4]  # one more tick may bring the first below the bound
    many = dict.fromkeys(range(PRUNED_PER_DREAM + 50), FADED)
    assert fading(reversed(many.items())) == list(range(PRUNED_PER_DREAM))


def test_a_memory_forgiven_and_stale_is_archived_and_pruned_in_one_dream() -> None:
    stale = replace(FADED, state=State.FORGIVEN, last_recalled=NOW - 3601)
    report = dream({1: stale}, {1: None}).report
    assert (report.archived, report.pruned_ids) == (1, (1,))


def test_archived_memories_fade_only_when_asked_to() -> None:
    records = {1: replace(FADED, fidelity=0.7), 2: replace(FADED, fidelity=0.7, keystone=True)}
    assert dream(records, {}).changes == ()
    plan = dream(records, {}, fade_archived=True)
    assert [change.memory_id for change in plan.changes] == [1]
    assert plan.changes[0].apply(records[1]).fidelity == pytest.approx(0.6930, abs=1e-4)
    assert plan.report.ticks == 0  # clients count ticks of active memories


def test_a_mark_set_while_the_dream_was_planned_saves_the_record() -> None:
    change = RecordChange(1, state=State.PRUNED)
    assert change.apply(FADED).state is State.PRUNED
    assert change.apply(replace(FADED, keystone=True)).state is State.ARCHIVED


async def store_faded(folder: Path, count: int = 2) -> None:
    """Ids from 1: faded memories, each linked to 1000, which is active."""
    backend = await open_sqlite(f"sqlite:///{folder / 'memory.db'}")
    vector = pack_vector([1.0, 0.0])
    puts = [
        Memory(Row(number, {"text": f"weber bracket {number}", "channel": "hearing"}, vector), FADED)
        for number in range(1, count + 1)
    ]
    puts.append(Memory(Row(1000, {"text": "quantum wave"}, pack_vector([0.0, 1.0])), Record(NOW, NOW)))
    connects = tuple(Edge(number, 1000, "near") for number in range(1, count + 1))
    await backend.apply(Batch(puts=tuple(puts), connects=connects))
    await backend.close()


async def expect_pruned(daemon: Running) -> None:
    """What ferricula's contract says of a row without a record, and what ours promises of its text."""
    assert await daemon.text("GET", "/inspect/1") == "error: no memory record for id=1"
    assert await daemon.text("POST", "/keystone/1") == "error: no memory record for id=1"
    assert (await daemon.data("GET", "/get/1"))["tags"]["text"] == "weber bracket 1"
    status = await daemon.text("GET", "/status")
    assert "rows=3\n  memories=1 (active=1 forgiven=0 archived=0)" in status
    assert await daemon.data("POST", "/query", "SELECT id FROM docs WHERE channel = 'hearing'") == {
        "rows": []
    }
    for where, ids in (
        ("state = 'Pruned'", [1, 2]),
        ("id = 2 AND state IN ('Active', 'Pruned')", [2]),
        ("state LIKE 'Prun%'", [1, 2]),
        ("id = 1 OR channel = 'Pruned'", []),
        ("state <> 'Active'", []),
    ):
        answer = await daemon.data("POST", "/query", f"SELECT id FROM docs WHERE {where}")
        assert [row["id"] for row in answer["rows"]] == ids, where
    assert "recalled 0 memories" in await daemon.text("POST", "/recall", {"query": "channel = 'hearing'"})
    found = await daemon.data("POST", "/search", {"query": "weber"})
    assert sorted(hit["id"] for hit in found["results"]) == [1, 2]
    hits = await daemon.engine.recalling.recall(RecallQuery(text="weber bracket 1"))
    assert hits.memories[0].memory.row.text == "weber bracket 1"
    assert hits.memories[0].memory.record.recall_count == 4  # a record that is gone counts no recall
    with pytest.raises(NotFoundError):
        await daemon.rpc.set_keystone(1, True)


async def test_a_pruned_memory_over_both_apis_and_after_a_restart(tmp_path: Path) -> None:
    await store_faded(tmp_path)
    async with running(tmp_path) as daemon:
        text = await daemon.text("POST", "/dream")
        assert "\n  pruned=2\n  ghost_echoes=0\n" in text
        await expect_pruned(daemon)
        assert (await daemon.rpc.status()).edge_count == 0
        assert "pruned=0" in await daemon.text("POST", "/dream")
    async with running(tmp_path) as daemon:
        await expect_pruned(daemon)
        logged = await daemon.engine.store.backend.read_events(0, 100)
        assert [event.memory_ids for event in logged if event.kind == "pruned"] == [(1, 2)]
        learnt_anew = await daemon.engine.remembering.remember(NewMemory({"text": "weber bracket 1"}))
        assert learnt_anew.created
        assert 1 in learnt_anew.duplicate_ids


async def test_a_pruned_text_is_carried_over_from_a_remote_memoryd(tmp_path: Path) -> None:
    await store_faded(tmp_path)
    async with running(tmp_path) as remote:
        await remote.rpc.dream()
        near = await open_ferricula(f"ferricula+{remote.url}")
        found = {memory.row.text: memory.record.state for memory in await near.scan(-1, 10)}
        await near.close()
    assert found == {
        "weber bracket 1": State.PRUNED,
        "weber bracket 2": State.PRUNED,
        "quantum wave": State.ACTIVE,
    }


async def test_a_large_pruning_is_logged_whole_and_takes_its_turns(tmp_path: Path) -> None:
    count = PRUNED_PER_DREAM + 30
    await store_faded(tmp_path, count)
    async with running(tmp_path) as daemon:
        first, second = await daemon.rpc.dream(), await daemon.rpc.dream()
        assert (first.pruned_count, second.pruned_count) == (PRUNED_PER_DREAM, 30)
        events = await daemon.engine.store.backend.read_events(0, 1000)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        logged = [memory_id for event in events if event.kind == "pruned" for memory_id in event.memory_ids]
        assert sorted(logged) == list(range(1, count + 1))
        assert len((await daemon.data("POST", "/search", {"query": "weber", "k": 500}))["results"]) == count


@asynccontextmanager
async def inverting_service(vector: list[float]) -> AsyncIterator[str]:
    """A shivvr that inverts everything to one text, and gives that text the vector named."""

    async def health(request: web.Request) -> web.Response:
        return web.json_response({})

    async def invert(request: web.Request) -> web.Response:
        return web.json_response({"text": "something\nabout brackets"})

    async def ingest(request: web.Request) -> web.Response:
        return web.json_response({"embedding": vector})

    application = web.Application()
    application.router.add_get("/health", health)
    application.router.add_post("/invert", invert)
    application.router.add_post("/memory/_mcp/ingest", ingest)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("vector", "echoes"), [([0.9, 0.3], 2), ([0.3, 0.9], 0)], ids=["near", "far"])
async def test_an_echo_stays_when_the_service_still_knows_the_meaning(
    tmp_path: Path, vector: list[float], echoes: int
) -> None:
    await store_faded(tmp_path)
    async with inverting_service(vector) as url, running(tmp_path, f"--embedder={url}") as daemon:
        report = await daemon.rpc.dream()
        assert (report.pruned_count, report.ghost_echo_count) == (2, echoes)
        text = await daemon.text("GET", "/neighbors/1000")
        expected = ["  1000 [echo:something about brackets <->] w=0.10 fidelity=0.990"] if echoes else [""]
        assert text.splitlines()[1:] == [line for line in expected if line]
