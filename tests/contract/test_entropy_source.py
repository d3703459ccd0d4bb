"""All sources against the one contract."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from entropyd.source import EntropySource, SourceKind
from entropyd.sources.auto_source import AutoSource
from entropyd.sources.file_source import FileSource
from entropyd.sources.http_source import HttpSource
from entropyd.sources.os_source import OsSource
from entropyd.sources.rtl_tcp_source import RtlTcpSource
from entropyd.sources.rtlsdr_source import RtlSdrSource
from entropyd.sources.tuning import Tuning
from tests.contract.entropy_source import EntropySourceContract, SourceUnderTest
from tests.entropyd.conftest import FakeDongle, dongle, fake_library  # noqa: F401 - fixtures
from tests.entropyd.rtl_tcp_emulator import RtlTcpEmulator, rtl_tcp_emulator

SMALL = Tuning(chunk_bytes=32_768, sample_rate=2_400_000)


class OsUnderTest(SourceUnderTest):
    kind, raw, can_go_away = SourceKind.OS, False, False

    def open(self) -> EntropySource:
        return OsSource(interval=0.01)

    async def go_away(self) -> None:
        raise AssertionError


class TestOsSource(EntropySourceContract):
    @pytest.fixture
    def subject(self) -> SourceUnderTest:
        return OsUnderTest()


class FileUnderTest(SourceUnderTest):
    kind, raw, repeats_by_nature = SourceKind.FILE, True, True

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(os.urandom(32_768 * 6))

    def open(self) -> EntropySource:
        return FileSource(self.path, chunk_bytes=32_768, loop=False)

    async def go_away(self) -> None:
        self.path.unlink()


class TestFileSource(EntropySourceContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> SourceUnderTest:
        return FileUnderTest(tmp_path / "capture.iq")


class RtlTcpUnderTest(SourceUnderTest):
    kind, raw = SourceKind.RADIO, True

    def __init__(self, emulator: RtlTcpEmulator) -> None:
        self.emulator = emulator

    def open(self) -> EntropySource:
        return RtlTcpSource("127.0.0.1", self.emulator.port, SMALL, timeout=2.0)

    async def go_away(self) -> None:
        await self.emulator.stop()


class TestRtlTcpSource(EntropySourceContract):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[SourceUnderTest]:
        async with rtl_tcp_emulator() as emulator:
            yield RtlTcpUnderTest(emulator)


class DongleUnderTest(SourceUnderTest):
    kind, raw = SourceKind.RADIO, True

    def __init__(self, fake: FakeDongle, usb: Path | None = None) -> None:
        self.fake, self.usb = fake, usb

    def open(self) -> EntropySource:
        tuning = Tuning(chunk_bytes=32_768, library_folder=str(self.fake.library.parent))
        return AutoSource(tuning, usb_devices=self.usb) if self.usb else RtlSdrSource(tuning)

    async def go_away(self) -> None:
        self.fake.set("absent")


class TestRtlSdrSource(EntropySourceContract):
    @pytest.fixture
    def subject(self, dongle: FakeDongle) -> SourceUnderTest:  # noqa: F811
        pytest.importorskip("rtlsdr", reason="the extra rtlsdr is not installed")
        return DongleUnderTest(dongle)


class TestAutoSource(EntropySourceContract):
    @pytest.fixture
    def subject(self, dongle: FakeDongle, tmp_path: Path) -> SourceUnderTest:  # noqa: F811
        pytest.importorskip("rtlsdr", reason="the extra rtlsdr is not installed")
        return DongleUnderTest(dongle, tmp_path / "no-such-bus")


class HttpUnderTest(SourceUnderTest):
    kind, raw = SourceKind.REMOTE, False

    def __init__(self, runner: web.AppRunner) -> None:
        self.runner = runner
        self.port = runner.addresses[0][1]

    def open(self) -> EntropySource:
        return HttpSource(f"http://127.0.0.1:{self.port}", interval=0.01, timeout=2.0)

    async def go_away(self) -> None:
        await self.runner.cleanup()


class TestHttpSource(EntropySourceContract):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[SourceUnderTest]:
        async def answer(request: web.Request) -> web.Response:
            data = b"" if os.urandom(1)[0] % 3 == 0 else os.urandom(160)  # often drained, as sdr-rand is
            body = {"bytes_requested": 4096, "bytes_returned": len(data), "entropy_hex": data.hex()}
            return web.Response(text=json.dumps(body))

        application = web.Application()
        application.router.add_get("/api/entropy", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield HttpUnderTest(runner)
        await runner.cleanup()
        await asyncio.sleep(0)
