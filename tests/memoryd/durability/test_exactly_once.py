"""Lost answers, repeated and reordered requests: one memory per idempotency key."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import aiohttp
import pytest

from services.errors import DeadlineExceededError, UnavailableError
from services.memory_client import MemoryClient
from tests.memoryd.durability.losing_router import LosingRouter
from tests.memoryd.running import Running, running


async def remember_until_told(address: str, text: str) -> int:
    """Repeats with the same key until an answer comes through."""
    for attempt in range(60):
        try:
            async with MemoryClient(address, timeout=3.0) as client:
                return (await client.remember(text, idempotency_key=f"key of {text}")).memory_id
        except (UnavailableError, DeadlineExceededError):
            await asyncio.sleep(0.01 * attempt)
    raise AssertionError(f"no answer for {text!r}")


async def post_until_told(address: str, text: str) -> int:
    body = json.dumps({"text": text, "idempotency_key": f"key of {text}"})
    timeout = aiohttp.ClientTimeout(total=3)
    for attempt in range(60):
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(f"http://{address}/remember", data=body) as response,
            ):
                return int(json.loads(await response.text())["result"].split("id=")[1].split()[0])
        except (aiohttp.ClientError, OSError, TimeoutError):
            await asyncio.sleep(0.01 * attempt)
    raise AssertionError(f"no answer for {text!r}")


async def write_through_faults(daemon: Running, operations: int) -> None:
    http = daemon.url.removeprefix("http://")
    rng = random.Random(4)
    # Every text is sent twice, in any order, by one of eight workers: duplicates and reordering.
    work = [f"run {number}" for number in range(operations // 2)] * 2
    rng.shuffle(work)
    told: dict[str, set[int]] = {}
    async with (
        LosingRouter(daemon.rpc.target, 0.1) as grpc_router,
        LosingRouter(http, 0.1, seed=2) as http_router,
    ):

        async def worker(number: int) -> None:
            send = remember_until_told if number % 2 else post_until_told
            address = grpc_router.address if number % 2 else http_router.address
            while work:
                text = work.pop()
                told.setdefault(text, set()).add(await send(address, text))

        await asyncio.gather(*(worker(number) for number in range(8)))
    assert grpc_router.lost + http_router.lost > operations // 50
    stored = {memory.row.text: memory.memory_id for memory in daemon.engine.store.mirror.memories()}
    assert told == {text: {memory_id} for text, memory_id in stored.items()}
    assert len(daemon.engine.store.mirror) == len(stored) == operations // 2


async def test_lost_answers_never_double_a_memory(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await write_through_faults(daemon, 300)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_two_thousand_operations_through_faults(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await write_through_faults(daemon, 2_000)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
async def test_a_hundred_thousand_operations_through_faults(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await write_through_faults(daemon, 100_000)
