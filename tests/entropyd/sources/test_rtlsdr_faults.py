"""The real pyrtlsdr over the fake librtlsdr, and Debian's real rtl_tcp over the same library."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from entropyd.health import HealthState
from entropyd.source import SourceUnavailableError
from entropyd.sources.rtl_tcp_source import RtlTcpSource
from entropyd.sources.rtlsdr_source import RtlSdrSource
from entropyd.sources.tuning import Tuning
from entropyd.station import Timers
from services.addresses import parse_address
from tests.entropyd.conftest import FakeDongle
from tests.entropyd.http_side import ask
from tests.entropyd.test_station import running, until, until_radio

SHORT = Timers(settle=0.0, stall=0.5, reopen=0.05, reopen_most=0.2, absent_most=0.3, permanent=0.3)


@pytest.fixture
def tuning(dongle: FakeDongle) -> Tuning:
    pytest.importorskip("rtlsdr", reason="the extra rtlsdr is not installed")
    return Tuning(chunk_bytes=65_536, library_folder=str(dongle.library.parent))


@pytest.mark.parametrize(
    ("mode", "cause"), [("absent", "no-device"), ("busy", "busy"), ("denied", "no-permission")]
)
async def test_why_it_cannot_be_opened(dongle: FakeDongle, tuning: Tuning, mode: str, cause: str) -> None:
    dongle.set(mode)
    with pytest.raises(SourceUnavailableError) as caught:
        async with RtlSdrSource(tuning):
            pass
    assert caught.value.cause == cause
    assert "\n" not in str(caught.value)


async def test_an_unknown_serial_number_is_named(tuning: Tuning) -> None:
    with pytest.raises(SourceUnavailableError, match="'777'") as caught:
        async with RtlSdrSource(replace(tuning, serial="777")):
            pass
    assert caught.value.cause == "no-device"
    async with RtlSdrSource(replace(tuning, serial="00000001")) as source:
        assert len((await source.read()).data) == 65_536


async def test_a_library_without_the_symbols_is_too_old(tmp_path: Path) -> None:
    pytest.importorskip("rtlsdr", reason="the extra rtlsdr is not installed")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (apt-get install gcc)")
    (tmp_path / "old.c").write_text("unsigned rtlsdr_get_device_count(void) { return 0; }\n")
    old = str(tmp_path / "librtlsdr.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", old, str(tmp_path / "old.c")], check=True, timeout=60)
    with pytest.raises(SourceUnavailableError, match="too old") as caught:
        async with RtlSdrSource(Tuning(library_folder=str(tmp_path))):
            pass
    assert caught.value.cause == "library-too-old"


@pytest.mark.parametrize(
    ("mode", "cause"), [("absent", "unplugged"), ("eio", "read-error"), ("segv", "crashed")]
)
async def test_why_it_stopped(dongle: FakeDongle, tuning: Tuning, mode: str, cause: str) -> None:
    async with RtlSdrSource(tuning) as source:
        await source.read()
        dongle.set(mode)
        with pytest.raises(SourceUnavailableError) as caught:
            async with asyncio.timeout(10):
                while True:
                    await source.read()
    assert caught.value.cause == cause


async def test_a_stalled_reader_is_killed(dongle: FakeDongle, tuning: Tuning) -> None:
    async with RtlSdrSource(tuning) as source:
        await source.read()
        process_id = source.process_id
        assert process_id is not None
        dongle.set("stall")
        started = time.monotonic()
    assert time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


async def test_the_reader_ends_with_its_parent(dongle: FakeDongle, tuning: Tuning) -> None:
    source = RtlSdrSource(tuning)
    await source.__aenter__()
    dongle.set("stall")  # so that no failing write tells it
    assert source._process is not None
    assert source._process.stdin is not None
    source._process.stdin.close()
    async with asyncio.timeout(5):
        await source._process.wait()


async def inject_and_recover(
    dongle: FakeDongle, open_source, modes: list[str], timers: Timers = SHORT
) -> None:
    """Each fault is seen, nothing of the source stays, and it is radio again within 5 s of good samples."""
    async with running(open_source, timers) as (station, dispenser):
        await until_radio(dispenser)
        for mode in modes:
            dongle.set(mode)
            async with asyncio.timeout(15):
                while dispenser.origin.kind.value == "radio":
                    await asyncio.sleep(0.01)
            assert dispenser.pool.byte_count == 0
            assert dispenser.generator.radio_bits == 0.0
            dongle.set("ok")
            started = time.monotonic()
            await until(dispenser, HealthState.HEALTHY)
            await until_radio(dispenser)
            print(f"{mode}: back after {time.monotonic() - started:.2f} s")
        assert station.openings > 1


async def test_faults_of_the_device_under_pyrtlsdr(dongle: FakeDongle, tuning: Tuning) -> None:
    modes = ["absent", "stall", "segv", "counter"]
    await inject_and_recover(dongle, lambda: RtlSdrSource(tuning), modes)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_twenty_faults_under_pyrtlsdr(dongle: FakeDongle, tuning: Tuning) -> None:
    before = len(os.listdir("/proc/self/fd"))
    modes = ["absent", "eio", "stall", "segv", "short", "repeat", "stuck", "counter", "absent", "segv"] * 2
    await inject_and_recover(dongle, lambda: RtlSdrSource(tuning), modes)
    await asyncio.sleep(0.2)
    assert len(os.listdir("/proc/self/fd")) <= before + 3  # no descriptor is left behind


@pytest.mark.nightly
@pytest.mark.timeout(3 * 3600)
async def test_a_thousand_faults_under_pyrtlsdr(dongle: FakeDongle, tuning: Tuning) -> None:
    modes = ["absent", "eio", "stall", "segv", "short", "repeat", "stuck", "counter", "absent", "segv"] * 100
    await inject_and_recover(dongle, lambda: RtlSdrSource(tuning), modes)


@contextmanager
def real_rtl_tcp(dongle: FakeDongle) -> Iterator[int]:
    """Debian's rtl_tcp with our library preloaded, on a free port."""
    program = shutil.which("rtl_tcp")
    if program is None:
        pytest.skip("rtl_tcp is not installed (apt-get install rtl-sdr)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, **dongle.environment, "LD_PRELOAD": str(dongle.library)}
    process = subprocess.Popen(
        [program, "-a", "127.0.0.1", "-p", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait(5)


async def test_the_real_rtl_tcp_is_read_as_radio(dongle: FakeDongle) -> None:
    with real_rtl_tcp(dongle) as port:
        async with running(lambda: RtlTcpSource("127.0.0.1", port, Tuning()), SHORT) as (
            _,
            dispenser,
        ):
            await until(dispenser, HealthState.HEALTHY)
            await until_radio(dispenser)


async def test_a_second_client_of_the_real_rtl_tcp_is_told_busy(dongle: FakeDongle) -> None:
    with real_rtl_tcp(dongle) as port:
        async with AsyncExitStack() as stack:
            first = await enter_when_up(stack, port)
            await first.read()
            with pytest.raises(SourceUnavailableError) as caught:
                async with RtlTcpSource("127.0.0.1", port, Tuning(), patience=0.5):
                    pass
            assert caught.value.cause == "busy"


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_faults_of_the_device_under_the_real_rtl_tcp(dongle: FakeDongle) -> None:
    with real_rtl_tcp(dongle) as port:
        modes = ["stall", "repeat", "counter", "stuck", "stall"]
        await inject_and_recover(dongle, lambda: RtlTcpSource("127.0.0.1", port, Tuning()), modes)


async def enter_when_up(stack: AsyncExitStack, port: int) -> RtlTcpSource:
    """The very first client: one that came only to see whether the server is up, and left before it was
    served, would occupy it for 5 s."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await stack.enter_async_context(RtlTcpSource("127.0.0.1", port, Tuning()))
            except SourceUnavailableError as error:
                if error.cause != "refused":
                    raise
                await asyncio.sleep(0.05)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_the_service_answers_through_every_fault_and_never_mislabels(
    dongle: FakeDongle, daemon, tmp_path: Path
) -> None:
    """Each label agrees with the state at that moment, and `os` bytes are never called radio."""
    pytest.importorskip("rtlsdr", reason="the extra rtlsdr is not installed")
    arguments = ["--source", "rtlsdr:", "--rtlsdr-library", str(dongle.library.parent)]
    arguments += ["--settle-seconds", "0", "--stall-seconds", "0.5", "--absent-most-seconds", "0.3"]
    arguments += ["--permanent-seconds", "0.3", "--state", str(tmp_path / "state")]
    answers: list[tuple[float, dict[str, object]]] = []
    with daemon(*arguments, environment=dongle.environment) as running:
        address = parse_address(running.http)

        async def poll(done: asyncio.Event) -> None:
            while not done.is_set():
                started = time.monotonic()
                answer = await ask(address, "/api/entropy?bytes=8", version="1.0", timeout=5)
                assert answer.status == 200
                answers.append((time.monotonic() - started, json.loads(answer.body)))
                await asyncio.sleep(0.01)

        done = asyncio.Event()
        polling = asyncio.create_task(poll(done))
        try:
            for mode in ["absent", "stall", "segv", "repeat", "eio", "counter"]:
                dongle.set("ok")
                await wait_for_label(answers, "radio")
                dongle.set(mode)
                await wait_for_label(answers, "os")
        finally:
            done.set()
            await polling
    radio = [body for _, body in answers if body["source"] == "radio"]
    assert radio
    assert {body["health"] for body in radio} <= {"healthy", "degraded"}
    assert all(body["claimed_min_entropy_bits"] == 8.0 * int(str(body["bytes_returned"])) for body in radio)
    rest = [body for _, body in answers if body["source"] != "radio"]
    assert {body["source"] for body in rest} == {"os"}
    assert {body["claimed_min_entropy_bits"] for body in rest} == {0.0}
    taken = sorted(seconds for seconds, _ in answers)
    print(f"{len(taken)} answers, p99 {1000 * taken[int(0.99 * len(taken))]:.0f} ms")
    assert "Traceback" not in running.log.read_text()


async def wait_for_label(answers: list[tuple[float, dict[str, object]]], source: str) -> None:
    async with asyncio.timeout(30):
        seen = len(answers)
        while not any(body["source"] == source for _, body in answers[seen:]):
            await asyncio.sleep(0.02)
