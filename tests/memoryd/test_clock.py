"""The clock: ticks, the reservoir, dreams, and where its entropy came from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from memoryd.clock import Clock, ClockState, pause_seconds
from memoryd.entropy_feed import Deposit, FirstFeed, LocalFeed, RadioFeed
from services.errors import ConfigurationError
from tests.entropyd.conftest import run_daemon
from tests.memoryd.running import running
from tests.services.test_credentials import Authority


def test_the_pause_lies_within_thirty_percent_and_over_a_second() -> None:
    assert pause_seconds(0, 60) == pytest.approx(42)
    assert pause_seconds(255, 60) == pytest.approx(78)
    assert pause_seconds(0, 1) == 1.0


def test_the_reservoir_keeps_the_newest_bytes() -> None:
    state = ClockState().deposited(bytes(1000), "radio").deposited(b"\x01" * 100, "radio")
    assert (len(state.reservoir), state.entropy_lifetime, state.radio) == (1024, 1100, "connected")
    state, seed = state.consumed(64)
    assert seed == bytes(64)
    assert state.reservoir[-1] == 1
    assert ClockState.from_json(state.to_json()).entropy_lifetime == 1100


def test_bytes_of_the_system_are_never_called_radio_for_what_came_after_them() -> None:
    state = ClockState().deposited(b"a" * 10, "os")
    assert state.origin == "os"
    state = state.deposited(b"b" * 10, "radio")
    assert (state.source, state.origin) == ("radio", "mixed")
    left, _ = state.consumed(15)
    assert left.deposited(b"c", "radio").origin == "mixed"
    assert left.consumed(5)[0].deposited(b"c", "radio").origin == "radio"


@asynccontextmanager
async def radio(body: object, status: int = 200) -> AsyncIterator[str]:
    """A gnosis-radio on a free port that gives one answer."""

    async def answer(request: web.Request) -> web.Response:
        assert request.query["format"] == "json"
        return web.json_response(body, status=status)

    application = web.Application()
    application.router.add_get("/api/entropy", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"entropy_hex": "00ff", "bytes_returned": 2}, Deposit(b"\x00\xff", "remote")),
        ({"hex": "0102"}, Deposit(b"\x01\x02", "remote")),
        ({"entropy_hex": "01", "source": "radio"}, Deposit(b"\x01", "radio")),
        ({"entropy_hex": "01", "source": "os"}, Deposit(b"\x01", "os")),
        ({"entropy_hex": "xyz"}, None),
        ({"entropy_hex": "", "bytes_returned": 0, "source": "radio"}, None),
        (["no object"], None),
    ],
)
async def test_a_radio_is_believed_only_as_far_as_it_says(body: object, expected: Deposit | None) -> None:
    async with radio(body) as url, FirstFeed(RadioFeed(url)) as feed:
        assert await feed.fetch(64) == expected


async def test_a_radio_that_fails_is_passed_over() -> None:
    async with radio({}, status=500) as url, radio({"entropy_hex": "", "source": "radio"}) as empty:
        feeds = (RadioFeed(url), RadioFeed(empty), RadioFeed("http://127.0.0.1:9"), LocalFeed())
        async with FirstFeed(*feeds) as feed:
            deposit = await feed.fetch(16)
            assert deposit is not None
            assert (len(deposit.data), deposit.source) == (16, "os")


async def test_the_clock_dreams_and_says_where_the_seed_came_from(tmp_path: Path) -> None:
    async with radio({"entropy_hex": "ab" * 64, "source": "radio"}) as url:
        async with running(tmp_path, f"--radio-url={url}") as memoryd:
            await memoryd.rpc.remember("one")
            await memoryd.engine.clock.tick()
            text = await memoryd.text("GET", "/clock")
            assert text == (
                "clock:\n  ticks=1\n  dreams=1\n  entropy_lifetime=64B\n  reservoir=0B\n  radio=connected"
            )
            assert "decayed_ids=[1]" in await memoryd.text("GET", "/dream/latest")
            status = await memoryd.rpc.status()
            assert (status.clock_ticks, status.dream_count, status.entropy_source) == (1, 1, "radio")
            events = memoryd.engine.store.events(1)
            assert "source=radio" in (await anext(events)).detail
    async with running(tmp_path) as memoryd:
        assert "dreams=1\n  entropy_lifetime=64B\n" in await memoryd.text("GET", "/clock")
        await memoryd.engine.clock.tick()
        assert "radio=disconnected" in await memoryd.text("GET", "/clock")


async def test_the_clock_goes_on_after_a_defect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(LocalFeed):
        async def fetch(self, byte_count: int) -> Deposit | None:
            raise RuntimeError("a defect")

    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 2:
            raise asyncio.CancelledError

    async with running(tmp_path) as memoryd:
        engine = memoryd.engine
        clock = Clock(engine.store, engine.dreaming, Broken(), sleep=sleep)
        with pytest.raises(asyncio.CancelledError):
            await clock.run()
    assert len(pauses) == 3
    assert [record.message for record in caplog.records if record.exc_info] == ["the clock's tick failed"] * 2


async def test_an_entropyd_with_mutual_tls_feeds_the_clock(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    (cert, key), (own_cert, own_key) = authority.issue("entropyd"), authority.issue("memoryd")
    tls = (f"--tls-cert={cert}", f"--tls-key={key}", f"--tls-client-ca={authority.ca}")
    with run_daemon(tmp_path, "--source=os:", *tls) as entropyd:
        address = f"--entropy=localhost:{entropyd.grpc.rpartition(':')[2]}"
        shown = (f"--entropy-cert={own_cert}", f"--entropy-key={own_key}")
        async with running(tmp_path, address, f"--entropy-ca={authority.ca}", *shown) as memoryd:
            await memoryd.engine.clock.tick()
            assert memoryd.engine.clock_state.source == "os"
            assert memoryd.engine.clock_state.entropy_lifetime == 64


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--entropy=nonsense", "--entropy"),
        ("--radio-url=nonsense", "--radio-url"),
        ("--radio-url=localhost:9090", "--radio-url"),
        ("--entropy-cert=c.pem", "--entropy-cert, --entropy-key and --entropy-ca"),
    ],
)
async def test_a_feed_that_could_never_give_is_refused(tmp_path: Path, flag: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{named}"):
        async with running(tmp_path, flag, *(("--entropy=localhost:1",) if "cert" in flag else ())):
            pass


async def test_the_clock_goes_on_after_a_failed_dream(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 3:
            raise asyncio.CancelledError

    async with running(tmp_path, "--local-entropy") as memoryd:
        clock = memoryd.engine.clock
        clock._sleep = sleep
        with pytest.raises(asyncio.CancelledError):
            await clock.run()
        assert clock.state.ticks == 3
        assert clock.state.dreams == 3
