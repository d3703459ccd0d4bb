"""A daemon over a long time: memory and descriptors stay where they are."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from services.addresses import parse_address
from services.entropy_client import EntropyClient
from tests.entropyd.http_side import ask
from tests.entropyd.rtl_tcp_emulator import rtl_tcp_emulator


def resident_bytes(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def soak(daemon, tmp_path: Path, warm_up: float, seconds: float) -> tuple[int, int]:
    """Growth in bytes and descriptors between the end of the warm-up and the end."""

    async def load(running, until: float) -> None:
        address = parse_address(running.http)
        async with EntropyClient(running.grpc) as client:
            while time.monotonic() < until:
                await client.draw(32, purpose="soak")
                await ask(address, "/api/entropy?bytes=4096")
                await client.status()
                await asyncio.sleep(0.005)

    async with rtl_tcp_emulator(pause=0.05) as emulator:
        source = f"rtl_tcp://127.0.0.1:{emulator.port}"
        with daemon("--source", source, "--settle-seconds", "0", "--state", str(tmp_path / "s")) as running:
            process_id = running.process.pid
            await load(running, time.monotonic() + warm_up)
            memory, files = resident_bytes(process_id), len(os.listdir(f"/proc/{process_id}/fd"))
            await load(running, time.monotonic() + seconds)
            await asyncio.sleep(0.5)
            return (
                resident_bytes(process_id) - memory,
                len(os.listdir(f"/proc/{process_id}/fd")) - files,
            )


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_memory_and_descriptors_settle(daemon, tmp_path: Path) -> None:
    grown, opened = await soak(daemon, tmp_path, warm_up=8.0, seconds=12.0)
    print(f"RSS {grown / 1e6:+.1f} MB, descriptors {opened:+d}")
    assert grown < 8_000_000
    assert opened <= 4


@pytest.mark.nightly
@pytest.mark.timeout(25 * 3600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_day_costs_less_than_five_megabytes(daemon, tmp_path: Path) -> None:
    seconds = float(os.environ.get("AUTORESEARCH_SOAK_SECONDS", 24 * 3600))
    grown, opened = await soak(daemon, tmp_path, warm_up=120.0, seconds=seconds)
    assert grown < 5_000_000
    assert opened <= 2
