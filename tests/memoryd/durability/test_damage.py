"""Damaged files and failing syncs: noticed, set aside or refused; never a wrong text or a false success."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from pathlib import Path

import pytest

from memoryd.memory import Batch
from memoryd.sqlite.backend import SqliteBackend, open_sqlite
from memoryd.store_copy import memory_digest
from services.errors import DataLossError, ServiceError, UnavailableError
from tests.memoryd.durability.history import random_batches, run_history, state_of
from tests.memoryd.durability.power_cut import DiskJournal, RecordingVfs


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'memory.db'}"


async def contents(backend: SqliteBackend) -> dict[str, object]:
    """Everything that a store gives back, by its key."""
    found: dict[str, object] = {}
    for memory in await backend.scan(-1, 10_000):
        found[f"memory {memory.memory_id}"] = memory_digest(memory)
    for edge in await backend.scan_edges((-1, -1), 10_000):
        found[f"edge {edge.pair}"] = edge
    for event in await backend.read_events(0, 10_000):
        found[f"event {event.sequence}"] = event
    for name, text in await backend.scan_values("", 10_000):
        found[f"value {name}"] = text
    return found


async def counters(backend: SqliteBackend) -> tuple[int, int]:
    status = await backend.status()
    return status.row_count, status.edge_count


async def flip_bits(folder: Path, flips: int) -> tuple[int, int, int]:
    """(refused, set aside, unchanged) of stores with one flipped bit each; fails on a wrong content."""
    (folder / "good").mkdir()
    backend = await open_sqlite(url_of(folder / "good"))
    for batch in random_batches(120, 3):
        await backend.apply(batch)
    truth, counted = await contents(backend), await counters(backend)
    await backend.close()
    original = (folder / "good" / "memory.db").read_bytes()
    rng = random.Random(5)
    refused = set_aside = unchanged = 0
    for number in range(flips):
        damaged = bytearray(original)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        place = folder / f"flip{number}"
        place.mkdir()
        (place / "memory.db").write_bytes(damaged)
        try:
            opened = await open_sqlite(url_of(place))
        except ServiceError:
            refused += 1
        else:
            try:
                found = await contents(opened)
                assert all(truth[key] == item for key, item in found.items()), f"flip {number}"
                warned = bool((await opened.status()).warnings)
                assert warned or (found == truth and await counters(opened) == counted), (
                    f"items are missing in silence (flip {number})"
                )
                if warned:
                    set_aside += 1
                else:
                    unchanged += 1
            except DataLossError:
                refused += 1
            finally:
                await opened.close()
        shutil.rmtree(place)
    return refused, set_aside, unchanged


async def test_a_flipped_bit_never_gives_a_wrong_text(tmp_path: Path) -> None:
    refused, set_aside, unchanged = await flip_bits(tmp_path, 80)
    assert refused + set_aside > 20
    assert refused + set_aside + unchanged == 80


@pytest.mark.long
async def test_a_thousand_flipped_bits_never_give_a_wrong_text(tmp_path: Path) -> None:
    refused, set_aside, unchanged = await flip_bits(tmp_path, 1000)
    assert refused + set_aside + unchanged == 1000


async def cut_log(folder: Path, step: int) -> None:
    """The WAL of a killed daemon, cut off at each `step` bytes, always gives a state that was."""
    (folder / "live").mkdir()
    backend = await open_sqlite(url_of(folder / "live"))
    states = await run_history(backend, random_batches(10, 2))
    copy = folder / "copy"
    shutil.copytree(folder / "live", copy)
    await backend.close()
    log = (copy / "memory.db-wal").read_bytes()
    seen: list[int] = []
    for size in [*range(0, len(log), step), len(log)]:
        place = folder / f"at{size}"
        place.mkdir()
        shutil.copy(copy / "memory.db", place / "memory.db")
        (place / "memory.db-wal").write_bytes(log[:size])
        opened = await open_sqlite(url_of(place))
        seen.append(states.index(await state_of(opened)))
        await opened.close()
        shutil.rmtree(place)
    assert seen == sorted(seen)
    assert seen[-1] == len(states) - 1


async def test_a_log_cut_off_leaves_a_state_that_was(tmp_path: Path) -> None:
    await cut_log(tmp_path, 512 * 9)


@pytest.mark.long
async def test_a_log_cut_off_at_any_sector_leaves_a_state_that_was(tmp_path: Path) -> None:
    await cut_log(tmp_path, 512)


async def fail_a_sync(folder: Path, number: int) -> bool:
    """Whether the failing sync was reached; checks what was acknowledged before and refused after it."""
    folder.mkdir()
    name = f"failing-{folder.name}-{number}"
    vfs = RecordingVfs(name, DiskJournal(), fail_sync=number)
    acknowledged = 0
    failures: list[ServiceError] = []
    try:
        backend = await open_sqlite(url_of(folder), vfs=name)
    except ServiceError:
        return True
    for batch in random_batches(30, 9):
        try:
            await backend.apply(batch)
        except UnavailableError as error:
            failures.append(error)
        else:
            assert not failures, "a batch was acknowledged after a failed sync"
            acknowledged += 1
    assert all(error.reason == "STORE_FAILED" for error in failures)
    await backend.close()
    vfs.unregister()
    again = await open_sqlite(url_of(folder))
    kept = [event.sequence for event in await again.read_events(0, 1000)]
    assert kept[:acknowledged] == list(range(1, acknowledged + 1))
    assert len(kept) <= acknowledged + 1
    await again.close()
    return bool(failures)


async def test_nothing_is_acknowledged_after_a_failed_sync(tmp_path: Path) -> None:
    reached = [await fail_a_sync(tmp_path / str(number), number) for number in range(1, 26)]
    assert sum(reached) > 20


@pytest.mark.long
async def test_every_single_sync_may_fail(tmp_path: Path) -> None:
    for number in range(1, 201):
        await fail_a_sync(tmp_path / str(number), number)


FAILING_DAEMON = """
import sys
from memoryd.__main__ import main
from tests.memoryd.durability.power_cut import DiskJournal, RecordingVfs
vfs = RecordingVfs("failing", DiskJournal(), fail_sync=int(sys.argv.pop(1)), default=True)
main()
"""


async def test_a_daemon_whose_disk_fails_ends_and_starts_again_with_everything(tmp_path: Path) -> None:
    import json

    from services.errors import ServiceError as AnyError
    from services.memory_client import MemoryClient

    flags = [
        "--listen=127.0.0.1:0",
        "--http-listen=127.0.0.1:0",
        "--embedder=none",
        "--clock-tick-seconds=0",
        f"--backend={url_of(tmp_path)}",
    ]
    root = Path(__file__).parents[3]
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", f"import sys; sys.path[:0] = [{str(root)!r}, {str(root / 'proto')!r}]\n{FAILING_DAEMON}"),
        *("30", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdout is not None
    address = json.loads(await asyncio.wait_for(child.stdout.readline(), 60))["grpc"]
    acknowledged: list[str] = []
    async with MemoryClient(address) as client:
        for number in range(100):
            try:
                await client.remember(f"run {number}")
            except AnyError:
                break
            acknowledged.append(f"run {number}")
    assert await asyncio.wait_for(child.wait(), 30) not in (0, -9)
    assert 0 < len(acknowledged) < 100
    again = await open_sqlite(url_of(tmp_path))
    texts = [memory.row.text for memory in await again.scan(-1, 1000)]
    assert texts[: len(acknowledged)] == acknowledged
    await again.apply(Batch())
    await again.close()
