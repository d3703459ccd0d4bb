"""Kills a real memoryd again and again under writers over gRPC and HTTP, and audits what it had confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from memoryd.sqlite.backend import open_sqlite
from services.errors import ServiceError
from services.memory_client import MemoryClient

FLAGS = ("--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--embedder=none", "--clock-tick-seconds=0")


@dataclass
class Audit:
    """`stored` maps each confirmed text to its id; `keystones` holds confirmed marks."""

    stored: dict[str, int] = field(default_factory=dict)
    keystones: set[int] = field(default_factory=set)
    recalls: dict[int, int] = field(default_factory=dict)
    ready_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    confirmed: int
    lost: int
    duplicated: int
    forgotten_marks: int


class KilledDaemon:
    """The daemon that is killed; `addresses` waits for the one that is alive."""

    def __init__(self, folder: Path) -> None:
        self._flags = (*FLAGS, f"--backend=sqlite:///{folder / 'memory.db'}")
        self._child: asyncio.subprocess.Process | None = None
        self._alive = asyncio.Event()
        self._announced: dict[str, str] = {}

    async def start(self) -> float:
        """Seconds until it announced itself."""
        begun = time.monotonic()
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "memoryd", *self._flags),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._child.stdout is not None
        line = await asyncio.wait_for(self._child.stdout.readline(), 60)
        assert line, "memoryd did not start again after a kill"
        self._announced = json.loads(line)
        self._alive.set()
        return time.monotonic() - begun

    async def kill(self) -> None:
        assert self._child is not None
        self._alive.clear()
        self._child.kill()
        await self._child.wait()

    async def addresses(self) -> tuple[str, str]:
        await self._alive.wait()
        return self._announced["grpc"], self._announced["http"]


async def write_over_grpc(daemon: KilledDaemon, audit: Audit, name: str, ended: asyncio.Event) -> None:
    number = 0
    while not ended.is_set():
        address, _ = await daemon.addresses()
        async with MemoryClient(address, timeout=5.0) as client:
            with contextlib.suppress(ServiceError):
                while not ended.is_set():
                    text = f"{name} run {number}"
                    answer = await client.remember(text, idempotency_key=text)
                    audit.stored[text] = answer.memory_id
                    number += 1
                    if number % 5 == 0:
                        await client.set_keystone(answer.memory_id, True)
                        audit.keystones.add(answer.memory_id)
                    if number % 7 == 0:
                        for found in await client.recall(text, limit=1):
                            audit.recalls[found.memory.memory_id] = found.memory.recall_count
        await asyncio.sleep(0.01)


async def write_over_http(daemon: KilledDaemon, audit: Audit, name: str, ended: asyncio.Event) -> None:
    number = 0
    timeout = aiohttp.ClientTimeout(total=5)
    while not ended.is_set():
        _, address = await daemon.addresses()
        async with aiohttp.ClientSession(timeout=timeout) as session:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                while not ended.is_set():
                    text = f"{name} run {number}"
                    body = json.dumps({"text": text, "idempotency_key": text})
                    async with session.post(f"http://{address}/remember", data=body) as response:
                        result = json.loads(await response.text())["result"]
                    assert result.startswith("remembered id="), result
                    audit.stored[text] = int(result.split("id=")[1].split()[0])
                    number += 1
        await asyncio.sleep(0.01)


async def kill_repeatedly(folder: Path, kills: int, seed: int) -> tuple[Verdict, Sequence[float]]:
    """`kills` times: let four writers get some writes confirmed, kill -9, start again. Then audit."""
    rng = random.Random(seed)
    daemon, audit, ended = KilledDaemon(folder), Audit(), asyncio.Event()
    audit.ready_seconds.append(await daemon.start())
    writers = [
        asyncio.create_task(write(daemon, audit, f"{write.__name__}-{number}", ended))
        for write in (write_over_grpc, write_over_http)
        for number in range(2)
    ]
    for _ in range(kills):
        await wait_for_writes(audit, len(audit.stored) + rng.randint(2, 12))
        await asyncio.sleep(rng.uniform(0, 0.02))  # somewhere inside a write
        await daemon.kill()
        audit.ready_seconds.append(await daemon.start())
    await asyncio.sleep(0.2)
    ended.set()
    await asyncio.gather(*writers)
    await daemon.kill()
    return await count(folder, audit), audit.ready_seconds


async def wait_for_writes(audit: Audit, wanted: int) -> None:
    """By what was confirmed and not by the clock, so that a busy machine tests as much as an idle one."""
    async with asyncio.timeout(60):
        while len(audit.stored) < wanted:
            await asyncio.sleep(0.005)


async def count(folder: Path, audit: Audit) -> Verdict:
    backend = await open_sqlite(f"sqlite:///{folder / 'memory.db'}")
    memories = await backend.scan(-1, 10**6)
    assert not (await backend.status()).warnings
    await backend.close()
    by_text: dict[str, list[int]] = {}
    for memory in memories:
        by_text.setdefault(memory.row.text, []).append(memory.memory_id)
    records = {memory.memory_id: memory.record for memory in memories}
    lost = sum(by_text.get(text) != [memory_id] for text, memory_id in audit.stored.items())
    duplicated = sum(len(ids) > 1 for ids in by_text.values())
    marks = sum(not records[one].keystone for one in audit.keystones)
    marks += sum(records[one].recall_count < times for one, times in audit.recalls.items())
    return Verdict(len(audit.stored), lost, duplicated, marks)
