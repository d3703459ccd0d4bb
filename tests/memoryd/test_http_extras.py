"""What memoryd adds to ferricula's HTTP side: health, dashboard, CORS, access rules, confer, inversion."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from memoryd.http.confer import assess, recommend_tokens
from memoryd.http.system_routes import word_overlap
from tests.memoryd.running import Running, running

TOKEN = "a-long-enough-token"


async def test_health_and_metrics(three: Running) -> None:
    health = await three.data("GET", "/health")
    assert (health["status"], health["rows"], health["durable"]) == ("ok", 3, True)
    async with three.http.get(f"{three.url}/metrics") as response:
        text = await response.text()
    assert 'memoryd_memories{state="active"} 3.0' in text


async def test_a_preflight_allows_what_browsers_need(memoryd: Running) -> None:
    async with memoryd.http.options(f"{memoryd.url}/delete/1") as response:
        assert "DELETE" in response.headers["Access-Control-Allow-Methods"]
        assert "Content-Type" in response.headers["Access-Control-Allow-Headers"]


async def test_the_dashboard_is_a_page_of_its_own(three: Running) -> None:
    for path in ("/", "/diagnostic"):
        async with three.http.get(f"{three.url}{path}") as response:
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"
            page = await response.text()
        assert "loaded" in page
        assert "{{" not in page
        assert "http://" not in page.replace("http://www.w3.org", "")


async def test_a_hostile_name_can_not_break_the_page_or_the_status(tmp_path: Path) -> None:
    async with running(tmp_path, "--name=<script>error") as memoryd:
        assert "<script>err" not in (await memoryd.send("GET", "/"))[1]
        assert "error" not in (await memoryd.text("GET", "/status"))[:50]


async def test_a_token_guards_every_route(tmp_path: Path) -> None:
    async with running(tmp_path, f"--token={TOKEN}") as memoryd:
        for path in ("/status", "/", "/metrics"):
            async with memoryd.http.get(f"{memoryd.url}{path}") as response:
                assert response.status == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert (await memoryd.send("GET", "/status", **headers))[0] == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", int(memoryd.url.rpartition(":")[2]))
        writer.write(
            b"GET /status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\nConnection: close\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        writer.close()


async def test_http_open_shows_ferriculas_routes_only(tmp_path: Path) -> None:
    async with running(tmp_path, f"--token={TOKEN}", "--http-open", "--http-listen=0.0.0.0:0") as memoryd:
        url = memoryd.url.replace("0.0.0.0", "127.0.0.1")
        async with memoryd.http.post(f"{url}/remember", data='{"text":"a"}') as response:
            assert "remembered id=1" in await response.text()
        async with memoryd.http.get(f"{url}/metrics") as response:
            assert response.status == 401


@pytest.mark.parametrize(
    ("text", "context", "flags", "score"),
    [
        ("The warmdown ratio of 0.4 helped.", "what helped with the warmdown?", [], 1.0),
        ("Why? How? When? I tried it once.", "a b c d", ["too_many_questions", "low_declaration_ratio"], 0.5),
        ("I think it works.", "a b c d", ["hedging"], 0.9),
        ("As an AI I tried. Great question!", "a b c d", ["assistant_pattern"], 0.6),
        ("word " * 60, "a b c d " * 10, ["generic"], 0.85),
        ("lovely wonderful gentle day.", "a b c d", ["tone_mismatch"], 0.85),
        ("in 2020 " * 110, "yes?", ["bloated"], 0.9),
        ("????", "", ["too_many_questions", "low_declaration_ratio"], 0.35),
    ],
)
def test_confer_takes_off_for_each_flag(text: str, context: str, flags: list[str], score: float) -> None:
    found = assess(text, context)
    assert list(found.flags) == flags
    assert found.score == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "context", "tokens"),
    [
        ("a", "he died and the funeral was yesterday", 128),
        ("a", "did it work?", 128),
        ("a", "hello there you", 256),
        ("word " * 50, "tell me about the runs", 256),
        ("a", "word " * 51, 1024),
        ("a", "tell me about the runs", 512),
    ],
)
def test_confer_recommends_a_length(text: str, context: str, tokens: int) -> None:
    assert recommend_tokens(text, context) == tokens


async def test_confer_stores_what_it_saw(memoryd: Running) -> None:
    answer = await memoryd.data("POST", "/confer", {"text": "I think so.", "context": "did it?"})
    assert (answer["score"], answer["flags"], answer["recommended_tokens"]) == (0.9, ["hedging"], 128)
    assert len(answer["assessments"]) == 5
    memory = await memoryd.rpc.inspect(answer["observation_id"])
    assert memory.tags == {"channel": "taste", "type": "confer", "score": "0.90", "flags": "hedging"}
    assert (memory.decay_alpha, memory.importance, memory.vector_dimension) == (0.018, 0.3, 0)


def test_word_overlap() -> None:
    assert word_overlap("The cat, sat.", "The cat sat") == 1.0
    assert word_overlap("", "") == 1.0
    assert word_overlap("a", "") == 0.0
    assert word_overlap("The cat", "the cat") == pytest.approx(1 / 3)


async def test_inversion_names_what_is_missing(three: Running) -> None:
    assert await three.data("GET", "/inversion/1") == {"error": "shivvr not reachable", "memory_id": 1}


async def test_inversion_compares_the_texts(tmp_path: Path) -> None:
    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ingest(request: web.Request) -> web.Response:
        return web.json_response({"chunks": [{"text": "x", "embedding": [1.0, 0.0, 0.5]}]})

    async def invert(request: web.Request) -> web.Response:
        assert (await request.json())["embedding"] == [1.0, 0.0, 0.5]
        return web.json_response({"text": "weber bracket"})

    service = web.Application()
    service.router.add_get("/health", health)
    service.router.add_post("/invert", invert)
    service.router.add_post("/{path:.*}", ingest)
    runner = web.AppRunner(service)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with running(tmp_path, f"--embedder={url}") as memoryd:
        await memoryd.text("POST", "/remember", {"text": "weber bracket newton"})
        assert (await memoryd.data("GET", "/get/1"))["vector_dim"] == 3
        found = await memoryd.data("GET", "/inversion/1")
        assert found["inverted_text"] == "weber bracket"
        assert found["quality"] == pytest.approx(2 / 3)
        assert (await memoryd.data("GET", "/inversion/9"))["error"] == "no row"
    await runner.cleanup()


async def test_a_read_only_store_can_be_recalled_but_not_changed(tmp_path: Path) -> None:
    async with running(tmp_path) as memoryd:
        await memoryd.rpc.remember("cats purr")
    async with running(tmp_path, "--read-only") as memoryd:
        recalled = await memoryd.text("POST", "/recall", {"text": "cats"})
        assert "id=1 fidelity=1.000 recalls=0" in recalled
        text = await memoryd.text("POST", "/remember", {"text": "dogs"})
        assert text.startswith("error: the store ")
        assert "is read-only" in text
        status = await memoryd.rpc.status()
        assert any("read-only" in warning for warning in status.warnings)
        assert json.loads((await memoryd.rpc.identity()).identity_json)["agent_id"]
