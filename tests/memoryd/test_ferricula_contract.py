"""The thirty compatibility checks of ferricula's clients, over a real socket."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.memoryd.running import Running, running

STATUS = (
    r"^[^\n]+:\n  rows=\d+\n  memories=\d+ \(active=\d+ forgiven=\d+ archived=\d+\)\n  keystones=\d+\n"
    r"(  heat=\d+\.\d\d\n)?  graph: \d+ nodes, \d+ edges\n  prime_tree: \d+ terms, \d+ nodes, \d+ members$"
)


async def test_01_options_answers_an_empty_object_for_any_path(memoryd: Running) -> None:
    assert await memoryd.send("OPTIONS", "/anything") == (200, "{}")


async def test_02_an_unknown_route_is_400_with_its_query(memoryd: Running) -> None:
    assert await memoryd.send("GET", "/nope?x=1") == (400, '{"error":"unknown route: GET /nope?x=1"}')
    assert (await memoryd.send("PUT", "/status"))[0] == 400


@pytest.mark.parametrize("text", ["abc", "4294967296", "-1", "1.5", "%31"])
async def test_03_a_bad_path_id_is_400(memoryd: Running, text: str) -> None:
    assert await memoryd.send("GET", f"/inspect/{text}") == (400, '{"error":"invalid id"}')


async def test_04_status_has_its_lines_in_order(memoryd: Running) -> None:
    text = await memoryd.text("GET", "/status")
    assert re.match(STATUS, text)
    assert "error" not in text[:50]
    assert await memoryd.text("GET", "/status/") == text


async def test_05_remember_counts_stems_and_tags(vectored: Running) -> None:
    assert "rows=1" in await vectored.text("GET", "/status")


async def test_06_strict_mode_demands_an_id(tmp_path: Path) -> None:
    row = {"id": "x", "tags": {"channel": "hearing"}, "vector": [1, 0, 0]}
    async with running(tmp_path, "--strict") as memoryd:
        assert await memoryd.text("POST", "/remember", row) == "error: row.id is required"
        assert await memoryd.text("POST", "/remember", {"text": "a"}) == "error: row.id is required"
        no_tags = {"id": 1, "vector": []}
        assert await memoryd.text("POST", "/remember", no_tags) == "error: row.tags must be an object"
        no_vector = {"id": 1, "tags": {}}
        assert await memoryd.text("POST", "/remember", no_vector) == "error: row.vector must be an array"


async def test_07_tag_values_must_be_strings(memoryd: Running) -> None:
    body = {"id": 1, "tags": {"text": 5}, "vector": [1]}
    assert await memoryd.text("POST", "/remember", body) == "error: tag values must be strings"


async def test_08_another_dimension_is_refused_and_leaves_nothing(vectored: Running) -> None:
    body = {"id": 2, "tags": {"text": "weber again"}, "vector": [1, 2]}
    message = "error: vector dimension mismatch: expected 3, got 2"
    assert await vectored.text("POST", "/remember", body) == message
    found = await vectored.data("POST", "/search", {"query": "weber"})
    assert [hit["id"] for hit in found["results"]] == [1]


async def test_09_decay_alpha_is_clamped(memoryd: Running) -> None:
    body = {"id": 1, "tags": {"text": "a"}, "vector": [1, 0, 0], "decay_alpha": 5}
    await memoryd.text("POST", "/remember", body)
    assert "decay_alpha=0.02000 (effective=0.02000)" in await memoryd.text("GET", "/inspect/1")


async def test_10_get_shows_tags_and_the_dimension_only(vectored: Running) -> None:
    row = await vectored.data("GET", "/get/1")
    assert row == {
        "id": 1,
        "tags": {"channel": "hearing", "text": "weber bracket newton"},
        "vector_dim": 3,
    }
    status, body = await vectored.send("GET", "/get/99")
    assert status == 200
    assert body.startswith("error: no row for id=99")


async def test_11_inspect_has_its_lines_in_order(vectored: Running) -> None:
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(
        r"memory id=1:\n  state=Active\n  fidelity=1\.0000\n  decay_alpha=0\.01000 \(effective=0\.01000\)\n"
        r"  keystone=false\n  recalls=0\n  consolidation_depth=0\n  importance=0\.00\n  emotion=-\n"
        rf"  provenance=Ingested\n  created_at={stamp}\n  last_recalled={stamp}\n  age=\d+s\n"
        r"  staleness=\d+s\n  graph: degree=0 neighbors=\[\]",
        await vectored.text("GET", "/inspect/1"),
    )


async def test_12_inspecting_an_unknown_memory(memoryd: Running) -> None:
    assert await memoryd.text("GET", "/inspect/99") == "error: no memory record for id=99"


async def test_13_vector_sql_recalls_in_the_known_layout(vectored: Running) -> None:
    sql = "SELECT id FROM docs WHERE vector_topk_cosine('[1,0,0]', 5)"
    text = await vectored.text("POST", "/recall", {"query": sql})
    assert re.match(r"^sql: SELECT.*\nrecalled (\d+) memories( resonance=\d+/\d+)?:\n", text)
    assert text.split("\n")[2] == "  id=1 fidelity=1.000 recalls=1 text=weber bracket newton"


async def test_14_recall_counts_and_slows_the_decay(vectored: Running) -> None:
    await vectored.text("POST", "/recall", {"query": "[1,0,0]"})
    text = await vectored.text("GET", "/inspect/1")
    assert "recalls=1\n" in text
    assert "decay_alpha=0.00950" in text


async def test_15_a_predicate_becomes_sql(vectored: Running) -> None:
    text = await vectored.text("POST", "/recall", {"query": "channel = 'hearing'"})
    assert "sql: SELECT id FROM docs WHERE channel = 'hearing'" in text
    assert "id=1 " in text


async def test_16_only_docs_is_a_table(memoryd: Running) -> None:
    text = await memoryd.text("POST", "/recall", {"query": "SELECT id FROM other"})
    assert text.startswith("error: only table `docs` ")


async def test_17_the_seeds_agent_sends_bare_texts(three: Running) -> None:
    text = await three.text("POST", "/recall", {"text": "weber force", "k": 2})
    assert re.match(r"^sql: SELECT.*\nrecalled 2 memories resonance=2/2:\n  id=2 .*\n  id=1 ", text)
    text = await three.text("POST", "/remember", {"text": "lr = 0.04 helped"})
    assert re.fullmatch(r"remembered id=\d+ terms=\d+ indexed", text)
    text = await three.text("POST", "/recall", {"text": "lr = 0.04", "k": 5})
    assert text.split("\n")[2].endswith("text=lr = 0.04 helped")


async def test_18_search_has_the_golden_scores(three: Running) -> None:
    first, second = (await three.data("POST", "/search", {"query": "weber force"}))["results"]
    assert (first["id"], first["bm25"], first["probability"]) == (2, 1.38, 0.6061)
    assert (second["id"], second["bm25"], second["probability"]) == (1, 0.447, 0.377)
    first, second = (await three.data("POST", "/hybrid", {"query": "weber force"}))["results"]
    assert (first["id"], first["bm25"], first["probability"]) == (2, 0.606, 0.2925)
    assert (second["id"], second["bm25"], second["probability"]) == (1, 0.377, 0.2059)


async def test_19_search_reports_bad_json_and_finds_nothing_for_stop_words(three: Running) -> None:
    assert "error" in await three.data("POST", "/search", "x")
    assert await three.data("POST", "/search", {"query": "the"}) == {"results": []}


async def test_20_connect_shows_its_arrow(three: Running) -> None:
    causal = {"a": 1, "b": 2, "label": "next", "kind": "causal"}
    assert await three.text("POST", "/connect", causal) == "connected 1 -> 2 [next]"
    assert await three.text("POST", "/connect", {"a": 1, "b": 3}) == "connected 1 <-> 3 [related]"
    structural = {"a": 1, "b": 3, "kind": "structural"}
    assert await three.text("POST", "/connect", structural) == "connected 1 <~> 3 [related]"


async def test_21_neighbors_show_causal_predecessors(three: Running) -> None:
    await three.text("POST", "/connect", {"a": 1, "b": 2, "label": "next", "kind": "causal"})
    assert await three.text("GET", "/neighbors/2") == (
        "neighbors of 2 (1):\n  --- causal predecessors ---\n  1 [next <-] w=1.00 fidelity=1.000"
    )
    assert "  2 [next ->] w=1.00 fidelity=1.000" in await three.text("GET", "/neighbors/1")
    assert await three.text("GET", "/neighbors/77") == "neighbors of 77 (0):\n"


async def test_22_connect_names_what_is_missing(memoryd: Running) -> None:
    assert await memoryd.text("POST", "/connect", {"b": 2}) == "error: missing a"
    assert await memoryd.text("POST", "/connect", {"a": 2, "b": -1}) == "error: missing b"
    assert await memoryd.text("POST", "/disconnect", {"a": 7, "b": 8}) == "disconnected 7 <-> 8"


async def test_23_keystone_toggles(three: Running) -> None:
    assert await three.text("POST", "/keystone/1") == "keystone set for id=1"
    assert await three.text("POST", "/keystone/1") == "keystone unset for id=1"
    assert await three.text("POST", "/keystone/99") == "error: no memory record for id=99"


async def test_24_dream_has_its_counters_and_is_kept_as_the_latest(three: Running) -> None:
    assert await three.text("GET", "/dream/latest") == "no dreams yet"
    text = await three.text("POST", "/dream", "ignored")
    assert text.startswith("dream complete:\n  ticks=3\n")
    for counter in (
        *("ticks", "decayed", "forgiven", "archived", "consolidated", "pruned", "ghost_echoes"),
        *("keystones_reviewed", "edges_created", "keystones_promoted"),
    ):
        assert re.search(rf"\b{counter}=\d+", text)
    assert "active_archetypes=[Intuition,Fortune,Craft,Ethics,Advocate]" in text
    assert "\n  decayed_ids=[1,2,3]\n  forgiven_ids=[]\n  consolidated_ids=[]\n" in text
    assert text.endswith("  skg: sampled=0 tracked=0 emerging=[] decaying=[]")
    assert await three.text("GET", "/dream/latest") == text


async def test_25_offers_dream_with_their_intensity(three: Running) -> None:
    text = await three.text("POST", "/offer", "deadbeef")
    assert text.startswith("offer accepted: 4B entropy, intensity=0.06\ndream complete:")
    assert "active_archetypes=[]" in text
    text = await three.text("POST", "/offer", os.urandom(64).hex().upper())
    assert text.startswith("offer accepted: 64B entropy, intensity=1.00\n")
    assert (await three.text("POST", "/offer", {"entropy": "deadbeef"})).startswith("offer accepted: 4B")
    latest = await three.text("GET", "/dream/latest")
    assert await three.text("POST", "/offer", "xyz") == "error: offer: invalid hex string"
    assert (await three.text("POST", "/offer", "")).startswith("error: offer: provide hex")
    assert await three.text("GET", "/dream/latest") == latest


async def test_26_similar_memories_are_consolidated(memoryd: Running) -> None:
    await memoryd.text("POST", "/remember", {"id": 1, "tags": {"text": "one"}, "vector": [1, 0, 0]})
    await memoryd.text("POST", "/dream")
    await memoryd.text("POST", "/remember", {"id": 2, "tags": {"text": "two"}, "vector": [0.99, 0.01, 0]})
    text = await memoryd.text("POST", "/dream")
    assert "consolidated=2\n" in text
    assert "edges_created=1\n" in text
    survivor = await memoryd.text("GET", "/inspect/2")
    assert "consolidation_depth=1\n  importance=0.10\n" in survivor
    assert "provenance=Consolidated { from: [1, 2] }\n" in survivor
    assert "fidelity=0.9900\n" in survivor
    assert "state=Archived\n  fidelity=0.9802\n" in await memoryd.text("GET", "/inspect/1")
    assert "  1 [absorbed ->] w=1.00" in await memoryd.text("GET", "/neighbors/2")


async def test_27_twenty_nine_dreams_forgive_and_keystones_stay(memoryd: Running) -> None:
    row = {"id": 1, "tags": {"text": "one"}, "vector": [1, 0, 0]}
    await memoryd.text("POST", "/remember", row)
    await memoryd.text("POST", "/remember", row | {"id": 2, "vector": [0, 1, 0], "keystone": True})
    for _ in range(28):
        await memoryd.text("POST", "/dream")
    assert "state=Active\n  fidelity=0.7558\n" in await memoryd.text("GET", "/inspect/1")
    assert "forgiven_ids=[1]\n" in await memoryd.text("POST", "/dream")
    assert "state=Forgiven\n  fidelity=0.7483\n" in await memoryd.text("GET", "/inspect/1")
    assert "state=Active\n  fidelity=1.0000\n" in await memoryd.text("GET", "/inspect/2")


async def test_28_clock_maxid_and_terms_of_an_empty_store(memoryd: Running) -> None:
    assert re.fullmatch(
        r"clock:\n  ticks=\d+\n  dreams=\d+\n  entropy_lifetime=\d+B\n  reservoir=\d+B\n"
        r"  radio=disconnected",
        await memoryd.text("GET", "/clock"),
    )
    assert await memoryd.data("GET", "/maxid") == {"maxid": "0"}
    assert await memoryd.text("GET", "/terms") == "no terms"


async def test_29_delete_identity_and_skg(three: Running) -> None:
    assert await three.data("DELETE", "/delete/3") == {"deleted": True, "id": 3}
    assert await three.data("POST", "/delete/3") == {"deleted": False, "error": "not found", "id": 3}
    assert await three.data("POST", "/search", {"query": "quantum"}) == {"results": []}
    identity = await three.data("GET", "/identity")
    assert {
        *("agent_id", "name", "hexagram", "horoscope", "primary_emotion", "secondary_emotion"),
        *("identity_seed", "created_at", "archetypes", "cognitive_heat", "last_heat_update", "version"),
    } <= set(identity)
    assert len(identity["archetypes"]) == 5
    skg = await three.data("GET", "/skg")
    assert set(skg) == {"dream_tick", "tracked_pairs", "top_emerging", "top_decaying"}


async def test_30_query_takes_raw_sql_and_json(three: Running) -> None:
    await three.text("POST", "/keystone/2")
    sql = "SELECT id FROM docs WHERE keystone = true LIMIT 30"
    status, raw = await three.send("POST", "/query", sql)
    assert status == 200
    rows = json.loads(raw)["rows"]
    assert rows == [
        {
            "id": 2,
            "fidelity": 1.0,
            "recalls": 0,
            "state": "Active",
            "keystone": True,
            "text": "weber force law",
        }
    ]
    assert (await three.data("POST", "/query", {"query": sql}))["rows"] == rows
    assert (await three.send("POST", "/query", "SELECT"))[1].startswith("error: ")
