"""The live page: its API over a real server, and the page itself in a real browser."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from autoresearch.agent.v1 import agent_pb2 as pb
from prometheus_client import CollectorRegistry

from agent.dashboard import add_dashboard_routes
from services.addresses import Address
from services.http_server import HttpServer
from services.security import ServerSecurity
from tests.agent.cli.scripted_agentd import ScriptedAgent, baseline, kept

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@asynccontextmanager
async def serve_page(agent: ScriptedAgent, port: int = 0) -> AsyncIterator[str]:
    application = web.Application()
    add_dashboard_routes(application, agent)
    address = Address("127.0.0.1", port)
    server = HttpServer(address, application, security=ServerSecurity(), registry=CollectorRegistry())
    async with server:
        yield f"http://{server.address}"


async def read_events(
    http: aiohttp.ClientSession, url: str, count: int, **headers: str
) -> list[dict[str, str]]:
    """The first `count` events as {"id", "event", "data"}; comments are skipped."""
    events: list[dict[str, str]] = []
    current: dict[str, str] = {}
    async with http.get(url, headers=headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        async for raw in answer.content:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                current[name] = value
                continue
            if "event" in current:
                events.append(current)
                if len(events) == count:
                    break
            current = {}
    return events


async def test_the_page_is_whole_and_safe() -> None:
    async with serve_page(ScriptedAgent()) as url, aiohttp.ClientSession() as http:
        for path, kind in (
            ("/", "text/html"),
            ("/dashboard.js", "text/javascript"),
            ("/dashboard.css", "text/css"),
        ):
            async with http.get(url + path) as answer:
                assert answer.status == 200
                assert answer.content_type == kind
                assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
                text = await answer.text()
                assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
                assert "https://" not in text
                assert "innerHTML" not in text


async def test_a_snapshot_and_the_events_after_it_leave_nothing_out() -> None:
    async with serve_page(ScriptedAgent()) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/api/sessions") as answer:
            listed = await answer.json()
        async with http.get(f"{url}/api/sessions/s") as answer:
            snapshot = await answer.json()
        everything = await read_events(http, f"{url}/api/sessions/s/events?after=0", 7)
    assert [session["session_id"] for session in listed["sessions"]] == ["s"]
    assert [proposal["verdict"] for proposal in snapshot["proposals"]] == ["baseline", "keep"]
    names = [event["event"] for event in everything]
    assert names == ["session", "message", "proposal", "proposal", "progress", "session", "end"]
    assert [event.get("id") for event in everything] == ["1", "2", "3", "4", None, "5", None]
    assert json.loads(everything[1]["data"])["message"] == "seeds from the operating system"


async def test_a_reader_that_comes_back_gets_what_it_missed() -> None:
    async with serve_page(ScriptedAgent()) as url, aiohttp.ClientSession() as http:
        events_url = f"{url}/api/sessions/s/events?after=0"
        first = await read_events(http, events_url, 2)
        rest = await read_events(http, events_url, 3, **{"Last-Event-ID": first[-1]["id"]})
    assert [event.get("id") for event in first + rest] == ["1", "2", "3", "4", None]


async def test_questions_that_make_no_sense_are_answered_so() -> None:
    async with serve_page(ScriptedAgent()) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/api/sessions/s/events?after={'9' * 30}") as answer:
            assert answer.status == 400
        async with http.get(f"{url}/api/sessions/s/events?after=x") as answer:
            assert answer.status == 400
            assert (await answer.json())["metadata"] == {"field": "after"}


async def test_a_closed_page_ends_its_watch() -> None:
    """The stream of the service is closed with the page, so that watches do not pile up."""
    ended = asyncio.Event()

    class Watched(ScriptedAgent):
        async def WatchSession(
            self, request: pb.WatchSessionRequest, context: Any
        ) -> AsyncIterator[pb.WatchSessionResponse]:
            try:
                async for event in super().WatchSession(request, context):
                    yield event
            finally:
                ended.set()

    async with serve_page(Watched(endless=True)) as url, aiohttp.ClientSession() as http:
        await read_events(http, f"{url}/api/sessions/s/events", 3)
        await asyncio.wait_for(ended.wait(), 10)


class LongSession(ScriptedAgent):
    """A thousand proposals; new ones can be published."""

    def __init__(self) -> None:
        super().__init__(endless=True)
        self._proposals = [baseline()]
        for number in range(1, 1000):
            proposal = kept(pb.VERDICT_KEEP if number % 40 == 0 else pb.VERDICT_DISCARD)
            proposal.number = number
            proposal.val_bpb = 2.0 - number * 1e-4 + (number % 7) * 1e-3
            proposal.description = f"<img src=x onerror=alert(1)> change {number}"
            self._proposals.append(proposal)
        self._news: list[pb.WatchSessionResponse] = []
        self._published = asyncio.Condition()

    async def publish(self, event: pb.WatchSessionResponse) -> None:
        async with self._published:
            self._news.append(event)
            self._published.notify_all()

    async def ListProposals(self, request: pb.ListProposalsRequest, context: Any) -> pb.ListProposalsResponse:
        return pb.ListProposalsResponse(proposals=self._proposals)

    async def GetSession(self, request: pb.GetSessionRequest, context: Any) -> pb.GetSessionResponse:
        return pb.GetSessionResponse(session=self.session())

    async def WatchSession(
        self, request: pb.WatchSessionRequest, context: Any
    ) -> AsyncIterator[pb.WatchSessionResponse]:
        sent = request.after_sequence
        while True:
            async with self._published:
                await self._published.wait_for(lambda: len(self._news) > sent)  # noqa: B023
            for event in self._news[sent:]:
                yield event
            sent = len(self._news)


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_the_page_in_a_real_browser() -> None:
    """A thousand proposals painted, a new one shown, a broken link healed, and no text run as a script."""
    playwright_api = pytest.importorskip("playwright.async_api")
    expect, patience = playwright_api.expect, 30_000
    agent = LongSession()
    async with playwright_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = await browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        rows, state = page.locator("#proposals tr"), page.locator("#state")
        async with serve_page(agent) as url:
            port = int(url.rpartition(":")[2])
            began = time.monotonic()
            await page.goto(url)
            await expect(rows).to_have_count(1000, timeout=patience)
            first_paint = time.monotonic() - began
            await expect(page.locator("#chart circle")).to_have_count(1000)
            # By paired differences, -0.1 for each keep, not by the means that each proposal had.
            await expect(page.locator("#chart title", has_text="#80 keep 1.80")).to_have_count(1)
            await expect(state).to_have_text("running")
            await expect(page.locator("#cards")).to_contain_text("noise")
            await expect(page.locator("#proposals img")).to_have_count(0)

            news = kept()
            news.number, news.description = 1000, "newest"
            began = time.monotonic()
            await agent.publish(pb.WatchSessionResponse(sequence=1, proposal=news))
            await expect(rows).to_have_count(1001, timeout=patience)
            update = time.monotonic() - began
        # The server is gone: the page says so, comes back by itself, and misses nothing.
        await expect(state).to_have_text("connection lost", timeout=patience)
        await agent.publish(pb.WatchSessionResponse(sequence=2, message="said while the link was broken"))
        async with serve_page(agent, port):
            await expect(page.locator("#messages")).to_have_text(
                "said while the link was broken", timeout=patience
            )
            await expect(state).to_have_text("running", timeout=patience)
        await browser.close()
    assert problems == []
    print(f"first paint of 1,000 proposals {first_paint:.2f} s, update {update:.2f} s")
