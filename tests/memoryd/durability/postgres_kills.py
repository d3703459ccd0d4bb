"""Kills a whole PostgreSQL at once under writers, starts it again, and audits what had been confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from memoryd.memory import Batch, Memory, Record, Row
from memoryd.postgres.backend import PostgresBackend, open_postgres
from services.errors import ServiceError
from tests.contract.postgres_server import PostgresServer, start_server, stop_server

WRITERS = 3


class KilledServer:
    """A PostgreSQL of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: Any = None
        self.server = PostgresServer("")

    async def start(self) -> None:
        self.server, self._handle = await asyncio.to_thread(start_server, self._folder)
        # What is not synced by its own commit shall not be by chance either: no help from the background.
        async with await psycopg.AsyncConnection.connect(self.server.uri, autocommit=True) as connection:
            for setting in ("wal_writer_delay = '10s'", "autovacuum = off"):
                await connection.execute(f"ALTER SYSTEM SET {setting}")
            await connection.execute("SELECT pg_reload_conf()")

    async def kill(self) -> None:
        """SIGKILL for the postmaster and every process of it: shared memory goes, as in a crash."""
        postmaster = psutil.Process(self._handle.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.to_thread(psutil.wait_procs, processes, 20)

    async def start_again(self) -> None:
        """Waits for the recovery; the package gives up after 10 s, which a busy machine may exceed."""
        for attempt in range(9):
            try:
                await asyncio.to_thread(self._handle.ensure_postgres_running)
                return
            except (subprocess.SubprocessError, AssertionError):
                if attempt == 8:
                    raise
                await asyncio.sleep(1)

    async def stop(self) -> None:
        await asyncio.to_thread(stop_server, self._handle)


@dataclass
class Audit:
    """`confirmed` maps the ids whose batch was acknowledged to their texts; `kills` counts."""

    confirmed: dict[int, str] = field(default_factory=dict)
    kills: int = 0


@dataclass(frozen=True)
class Verdict:
    confirmed: int
    lost: int
    wrong: int


class _Writing:
    """Writers that go on over a crash, with a store opened anew when the old one has given up."""

    def __init__(self, url: str, synchronous_commit: str) -> None:
        self._url = url
        self._synchronous_commit = synchronous_commit
        self._opening = asyncio.Lock()
        self._backend: PostgresBackend | None = None
        self.audit = Audit()
        self.ended = False

    async def write(self, first_id: int) -> None:
        number = first_id
        while not self.ended:
            text = f"run {number} " + "x" * (number % 300)
            memory = Memory(Row(number, {"text": text}), Record(number, number))
            backend = await self._open()
            if backend is None:
                continue
            try:
                await backend.apply(Batch(puts=(memory,), values={f"key/{number}": text}))
            except ServiceError:
                await self._give_up(backend)
                continue
            self.audit.confirmed[number] = text
            number += WRITERS

    async def close(self) -> None:
        if self._backend is not None:
            await self._backend.close()

    async def _open(self) -> PostgresBackend | None:
        async with self._opening:
            if self._backend is None:
                try:
                    self._backend = await open_postgres(
                        self._url, synchronous_commit=self._synchronous_commit
                    )
                except ServiceError:
                    await asyncio.sleep(0.1)
            return self._backend

    async def _give_up(self, backend: PostgresBackend) -> None:
        async with self._opening:
            if self._backend is backend:
                self._backend = None
                await backend.close()


async def kill_repeatedly(
    killed: KilledServer, kills: int, seed: int, *, synchronous_commit: str = ""
) -> Verdict:
    """`kills` times: let three writers get some batches confirmed, kill, start again; then audit."""
    url = await killed.server.new_database(with_pgvector=False)
    rng = random.Random(seed)
    writing = _Writing(url, synchronous_commit)
    writers = [asyncio.create_task(writing.write(first)) for first in range(1, WRITERS + 1)]
    for _ in range(kills):
        await _wait_for(writing.audit, len(writing.audit.confirmed) + rng.randint(20, 60))
        await asyncio.sleep(rng.uniform(0, 0.01))  # somewhere inside a write
        await killed.kill()
        await killed.start_again()
    writing.ended = True
    await asyncio.gather(*writers)
    await writing.close()
    return await _count(url, writing.audit)


async def _wait_for(audit: Audit, wanted: int) -> None:
    async with asyncio.timeout(90):
        while len(audit.confirmed) < wanted:
            await asyncio.sleep(0.005)


async def _count(url: str, audit: Audit) -> Verdict:
    backend = await open_postgres(url)
    stored = {memory.memory_id: memory.row.text for memory in await backend.scan(-1, 10**6)}
    keys = dict(await backend.scan_values("", 10**6))
    await backend.close()
    lost = sum(number not in stored or f"key/{number}" not in keys for number in audit.confirmed)
    wrong = sum(stored.get(number, text) != text for number, text in audit.confirmed.items())
    return Verdict(len(audit.confirmed), lost, wrong)
