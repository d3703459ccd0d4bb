"""The station with real sources: failures withdraw, recovery restores, nothing is mislabelled."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from entropyd.dispensing.dispenser import Dispenser
from entropyd.dispensing.draw import Policy, PoolKind
from entropyd.health import HealthState
from entropyd.source import EntropySource, SourceKind, SourceUnavailableError
from entropyd.sources.auto_source import AutoSource
from entropyd.sources.http_source import HttpSource
from entropyd.sources.os_source import OsSource
from entropyd.sources.rtl_tcp_source import (
    SET_AGC,
    SET_FREQUENCY,
    SET_GAIN,
    SET_GAIN_MODE,
    SET_RATE,
    RtlTcpSource,
)
from entropyd.sources.synthetic import counter_chunk
from entropyd.sources.tuning import Tuning, default_sample_rate
from entropyd.station import Station, Timers
from services.errors import UnavailableError
from tests.entropyd.conftest import FakeDongle
from tests.entropyd.dispensing.test_dispenser import make_dispenser
from tests.entropyd.receivers import carrier
from tests.entropyd.rtl_tcp_emulator import binomial_noise, rtl_tcp_emulator

FAST = Timers(settle=0.0, stall=1.0, reopen=0.02, reopen_most=0.1, absent_most=0.2, permanent=0.2)


@asynccontextmanager
async def running(
    open_source: Callable[[], EntropySource], timers: Timers = FAST
) -> AsyncIterator[tuple[Station, Dispenser]]:
    dispenser = make_dispenser()
    station = Station(open_source, dispenser, timers=timers)
    task = asyncio.create_task(station.run())
    try:
        yield station, dispenser
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=10)


async def until(dispenser: Dispenser, state: HealthState, test: str | None = None) -> None:
    async with asyncio.timeout(30):
        while True:
            current = dispenser.health.current
            if current.state is state and test in (None, current.failing_test):
                return
            await asyncio.sleep(0.005)


async def test_os_is_absent_radio_by_choice() -> None:
    async with running(OsSource) as (_, dispenser):
        await until(dispenser, HealthState.ABSENT, "no-radio")
        assert dispenser.draw(8, PoolKind.DRBG, Policy.FALLBACK).source is SourceKind.OS


async def test_an_rtl_tcp_receiver_is_tuned_and_becomes_radio() -> None:
    tuning = Tuning(frequency_hz=1_420_400_000, sample_rate=1_024_000)
    async with rtl_tcp_emulator() as emulator:
        async with running(lambda: RtlTcpSource("127.0.0.1", emulator.port, tuning)) as (_, dispenser):
            await until(dispenser, HealthState.HEALTHY)
            draw = dispenser.draw(32, PoolKind.FULL, Policy.REFUSE)
            assert (draw.source, draw.claimed_min_entropy_bits) == (SourceKind.RADIO, 256.0)
            assert draw.source_detail == f"rtl_tcp://127.0.0.1:{emulator.port} @ 1420.4 MHz"
        sent = dict(emulator.commands)
        assert sent[SET_FREQUENCY] == 1_420_400_000
        assert sent[SET_RATE] == 1_024_000
        assert (sent[SET_AGC], sent[SET_GAIN_MODE], sent[SET_GAIN]) == (0, 1, 496)
        assert max(sent) < 0x0E  # beyond, forks disagree on what a command means


async def test_a_counter_is_never_radio_and_recovery_is_by_reopening() -> None:
    broken = False
    random = np.random.default_rng()

    def make() -> bytes:
        return counter_chunk(7) if broken else binomial_noise(random)

    async with (
        rtl_tcp_emulator(make) as emulator,
        running(lambda: RtlTcpSource("127.0.0.1", emulator.port, Tuning())) as (station, dispenser),
    ):
        await until(dispenser, HealthState.HEALTHY)
        broken = True
        await until(dispenser, HealthState.FAILED)
        for _ in range(200):
            draw = dispenser.draw(8, PoolKind.FULL, Policy.FALLBACK)
            assert draw.source is SourceKind.OS
            with pytest.raises(UnavailableError):
                dispenser.draw(8, PoolKind.DRBG, Policy.REFUSE)
        assert dispenser.pool.byte_count == 0
        await asyncio.sleep(0.1)
        assert sum(station.alarms.values()) > 1
        broken = False
        await until(dispenser, HealthState.HEALTHY)
        await until_radio(dispenser)


async def until_radio(dispenser: Dispenser) -> None:
    async with asyncio.timeout(30):
        while dispenser.draw(8, PoolKind.DRBG, Policy.FALLBACK).source is not SourceKind.RADIO:
            await asyncio.sleep(0.01)


async def test_a_carrier_that_only_degrades_leaves_the_answers_to_the_system() -> None:
    weak = carrier(20)
    noise = np.random.default_rng()
    disturbed = False

    def make() -> bytes:
        return next(weak) if disturbed else binomial_noise(noise)

    async with (
        rtl_tcp_emulator(make) as emulator,
        running(lambda: RtlTcpSource("127.0.0.1", emulator.port, Tuning())) as (_, dispenser),
    ):
        await until(dispenser, HealthState.HEALTHY)
        disturbed = True
        await until(dispenser, HealthState.DEGRADED, "carrier")
        for draw in (
            dispenser.draw_available(64, Policy.FALLBACK),
            dispenser.draw(64, PoolKind.DRBG, Policy.FALLBACK),
        ):
            assert (draw.source, len(draw.data)) == (SourceKind.OS, 64)
        with pytest.raises(UnavailableError, match="carrier"):
            dispenser.draw_available(64, Policy.REFUSE)
        disturbed = False
        async with asyncio.timeout(30):  # healthy is said only when there is something to serve
            while dispenser.health.current.state is not HealthState.HEALTHY:
                await asyncio.sleep(0)
        assert dispenser.origin.kind is SourceKind.RADIO
        assert dispenser.pool.byte_count > 0


async def test_a_failure_at_2_to_the_60_closes_the_receiver() -> None:
    async with (
        rtl_tcp_emulator(lambda: b"\x7f" * 262_144) as emulator,
        running(lambda: RtlTcpSource("127.0.0.1", emulator.port, Tuning())) as (station, dispenser),
    ):
        await until(dispenser, HealthState.FAILED, "repetition-count")
        first = station.openings
        async with asyncio.timeout(10):
            while station.openings < first + 2:
                await asyncio.sleep(0.02)
        assert emulator.connections >= first + 1


async def test_a_lost_connection_withdraws_at_once_and_comes_back() -> None:
    async with (
        rtl_tcp_emulator() as emulator,
        running(lambda: RtlTcpSource("127.0.0.1", emulator.port, Tuning())) as (_, dispenser),
    ):
        await until(dispenser, HealthState.HEALTHY)
        await emulator.stop()
        await until(dispenser, HealthState.FAILED)
        assert dispenser.pool.byte_count == 0
        assert dispenser.draw_available(64, Policy.FALLBACK).source is SourceKind.OS
        await until(dispenser, HealthState.FAILED, "refused")
        await emulator.start()
        await until(dispenser, HealthState.HEALTHY)


async def test_silence_is_a_stall() -> None:
    async with (
        rtl_tcp_emulator(pause=60.0) as emulator,
        running(lambda: RtlTcpSource("127.0.0.1", emulator.port, Tuning()), FAST) as (_, dispenser),
    ):
        await until(dispenser, HealthState.FAILED, "stalled")


@pytest.mark.parametrize(
    ("greeting", "cause"), [(b"HTTP/1.1 400", "not-rtl-tcp"), (b"", "busy"), (b"RTL0", "busy")]
)
async def test_other_servers_and_busy_ones_are_told_apart(greeting: bytes, cause: str) -> None:
    async with rtl_tcp_emulator(lambda: b"", greeting=greeting) as emulator:
        with pytest.raises(SourceUnavailableError) as caught:
            async with RtlTcpSource("127.0.0.1", emulator.port, Tuning(), patience=0.5):
                pass
    assert caught.value.cause == cause


async def test_auto_finds_a_dongle_that_is_plugged_in_later(dongle: FakeDongle, tmp_path: Path) -> None:
    pytest.importorskip("rtlsdr", reason="the extra rtlsdr is not installed")
    bus = tmp_path / "bus"
    bus.mkdir()
    tuning = Tuning(library_folder=str(dongle.library.parent))
    async with running(lambda: AutoSource(tuning, usb_devices=bus)) as (station, dispenser):
        await until(dispenser, HealthState.ABSENT, "no-device")
        assert dispenser.draw(8, PoolKind.DRBG, Policy.FALLBACK).source is SourceKind.OS
        assert station.openings == 0
        device = bus / "1-1"
        device.mkdir()
        (device / "idVendor").write_text("0bda\n")
        (device / "idProduct").write_text("2838\n")
        await until(dispenser, HealthState.HEALTHY)
        assert dispenser.draw(8, PoolKind.FULL, Policy.REFUSE).source is SourceKind.RADIO
        dongle.set("absent")
        (device / "idVendor").unlink()
        await until(dispenser, HealthState.ABSENT, "no-device")
        assert dispenser.draw(8, PoolKind.FULL, Policy.FALLBACK).source is SourceKind.OS


Answer = Callable[[], dict[str, object] | str]


@asynccontextmanager
async def server(answer: Answer, status: int = 200) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        assert request.query_string == "bytes=4096&format=json"
        body = answer()
        return web.Response(text=body if isinstance(body, str) else json.dumps(body), status=status)

    application = web.Application()
    application.router.add_get("/api/entropy", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def gnosis() -> dict[str, object]:
    data = os.urandom(160)
    return {"bytes_requested": 4096, "bytes_returned": 160, "pool_remaining": 0, "entropy_hex": data.hex()}


def honest(**changes: object) -> dict[str, object]:
    return gnosis() | {
        "source": "radio",
        "quality": "full",
        "health": "healthy",
        "claimed_min_entropy_bits": 1280.0,
        **changes,
    }


async def test_another_entropyd_with_a_radio_is_credited_as_remote() -> None:
    async with (
        server(honest) as url,
        running(lambda: HttpSource(url, interval=0.01)) as (_, dispenser),
    ):
        await until(dispenser, HealthState.HEALTHY)
        draw = dispenser.draw(16, PoolKind.FULL, Policy.REFUSE)
        assert draw.source is SourceKind.REMOTE
        assert draw.source_detail == f"{url} (says radio, healthy)"
        assert draw.claimed_min_entropy_bits == 128.0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (gnosis, "says nothing of its source"),
        (lambda: {"bytes": 160, "hex": os.urandom(160).hex()}, "says nothing of its source"),  # hertz's form
        (lambda: honest(source="os"), "says os, healthy"),
        (lambda: honest(health="failed"), "says radio, failed"),
        (lambda: honest(quality="drbg"), "says radio, healthy"),
        (lambda: honest(claimed_min_entropy_bits=100), "says radio, healthy"),
        (lambda: honest(claimed_min_entropy_bits="lots"), "says radio, healthy"),
        (lambda: honest(source="radio\r\nX-Evil: 1"), "says nothing of its source"),
    ],
)
async def test_others_are_mixed_in_without_credit(answer: Answer, said: str) -> None:
    async with server(answer) as url, running(lambda: HttpSource(url, interval=0.01)) as (_, dispenser):
        await until(dispenser, HealthState.DEGRADED, "unaccounted")
        draw = dispenser.draw(16, PoolKind.DRBG, Policy.FALLBACK)
        assert (draw.source, draw.claimed_min_entropy_bits) == (SourceKind.REMOTE, 0.0)
        assert draw.source_detail == f"{url} ({said})"
        assert dispenser.pool.byte_count == 0
        with pytest.raises(UnavailableError):
            dispenser.draw(16, PoolKind.DRBG, Policy.REFUSE)


@pytest.mark.parametrize(
    ("answer", "status", "cause"),
    [
        (lambda: "not json", 200, "bad-answer"),
        (lambda: "[]", 200, "bad-answer"),
        (lambda: {"entropy_hex": "xyz"}, 200, "bad-answer"),
        (lambda: {"error": "no"}, 200, "bad-answer"),
        (lambda: {"entropy_hex": "00"}, 503, "refused"),
    ],
)
async def test_nonsense_from_another_server_is_named(answer: Answer, status: int, cause: str) -> None:
    async with server(answer, status) as url:
        with pytest.raises(SourceUnavailableError) as caught:
            async with HttpSource(url):
                pass
    assert caught.value.cause == cause


def test_small_arm_boards_get_the_small_rate() -> None:
    assert default_sample_rate("armv7l", 4) == 1_024_000
    assert default_sample_rate("aarch64", 4) == 1_024_000
    assert default_sample_rate("aarch64", 16) == 2_400_000
    assert default_sample_rate("x86_64", 2) == 2_400_000
