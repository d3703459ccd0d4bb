"""A full disk: a clear refusal, nothing lost, reading goes on, and writing again without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import ResourceExhaustedError
from tests.memoryd.running import running


async def test_a_full_disk_refuses_reads_on_and_recovers(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(600_000))
    acknowledged: list[str] = []
    async with running(small_disk) as daemon:
        with pytest.raises(ResourceExhaustedError) as caught:
            for number in range(5000):
                text = f"run {number} " + "x" * 2000
                await daemon.rpc.remember(text)
                acknowledged.append(text)
        assert caught.value.reason == "STORE_FULL"
        assert len(acknowledged) > 20
        assert "error: " in await daemon.text("POST", "/remember", {"text": "y" * 4000})
        found = await daemon.rpc.recall("run 7", limit=3)
        assert found
        filler.unlink()
        await daemon.rpc.remember("there is room again")
        acknowledged.append("there is room again")
    async with running(small_disk) as daemon:
        stored = {memory.row.text for memory in daemon.engine.store.mirror.memories()}
        assert set(acknowledged) <= stored
