"""Power cuts at random points of the disk's history: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from memoryd.sqlite.backend import open_sqlite
from services.errors import ServiceError
from tests.memoryd.durability.history import random_batches, run_history, state_of
from tests.memoryd.durability.power_cut import DiskJournal, RecordingVfs


@dataclass(frozen=True)
class Verdict:
    cuts: int
    lost: int
    corrupt: int


async def cut_power(folder: Path, *, cuts: int, batches: int, synchronous: str, seed: int = 1) -> Verdict:
    """Records one history, cuts it at random points, opens each image and compares it with what was said."""
    journal = DiskJournal()
    name = f"recording-{synchronous}-{seed}"
    vfs = RecordingVfs(name, journal)
    live = folder / "live"
    url = f"sqlite:///{live / 'memory.db'}"
    backend = await open_sqlite(url, vfs=name, synchronous=synchronous)
    journal.sync_folder()  # the last thing that opening does, past the VFS
    digests = await run_history(backend, random_batches(batches, seed), journal.acknowledge)
    end = len(journal.operations)
    await backend.close()
    vfs.unregister()
    rng = random.Random(seed)
    positions = sorted(rng.randrange(1, end) for _ in range(cuts))
    lost = corrupt = 0
    for number, (acknowledged, image) in enumerate(journal.images(positions, seed)):
        place = folder / f"cut{number}"
        place.mkdir()
        for name, data in image.items():
            (place / name).write_bytes(data)
        try:
            found = await open_sqlite(f"sqlite:///{place / 'memory.db'}")
            digest = await state_of(found)
            warnings = (await found.status()).warnings
            await found.close()
        except ServiceError:
            corrupt += 1
            continue
        finally:
            for path in place.iterdir():
                path.unlink()
        if warnings:
            corrupt += 1
        elif digest not in digests[acknowledged : acknowledged + 2]:
            lost += 1
    return Verdict(cuts, lost, corrupt)


async def test_no_cut_loses_an_acknowledged_batch(tmp_path: Path) -> None:
    assert await cut_power(tmp_path, cuts=60, batches=60, synchronous="FULL") == Verdict(60, 0, 0)


async def test_the_same_cuts_without_syncs_lose_data(tmp_path: Path) -> None:
    """The harness has teeth: with syncing off it must find losses."""
    verdict = await cut_power(tmp_path, cuts=60, batches=60, synchronous="OFF")
    assert verdict.lost + verdict.corrupt > 20


@pytest.mark.long
async def test_a_thousand_cuts_lose_nothing(tmp_path: Path) -> None:
    verdict = await cut_power(tmp_path, cuts=1000, batches=250, synchronous="FULL", seed=7)
    assert verdict == Verdict(1000, 0, 0)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(20))
async def test_twenty_thousand_cuts_lose_nothing(tmp_path: Path, seed: int) -> None:
    verdict = await cut_power(tmp_path, cuts=1000, batches=400, synchronous="FULL", seed=100 + seed)
    assert verdict == Verdict(1000, 0, 0)
