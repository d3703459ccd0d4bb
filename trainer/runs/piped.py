"""A training process read from its pipes: where there is no supervisor that could keep a record."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from trainer.runs.supervised import SupervisedProcess
from trainer.sandbox.plan import Plan
from trainer.sandbox.recording import END, EVENTS, LOST, STDERR, STDOUT, Frame

CHUNK_BYTES = 65_536


class PipedProcess:
    """Gives the frames that a record would have. It ends with this daemon."""

    def __init__(self, process: SupervisedProcess, events_fd: int) -> None:
        self.caught_up = asyncio.Event()
        self.caught_up.set()
        self._process, self._events_fd = process, events_fd
        self._frames: asyncio.Queue[Frame] = asyncio.Queue(maxsize=64)

    @classmethod
    async def start(cls, plan: Plan, plan_path: Path, events_fds: tuple[int, int]) -> PipedProcess:
        """events_fds are both ends of the pipe for events; the plan keeps the second. Raises OSError."""
        try:
            return cls(await SupervisedProcess.start(plan, plan_path), events_fds[0])
        except BaseException:
            os.close(events_fds[0])
            raise
        finally:
            os.close(events_fds[1])

    async def frames(self) -> AsyncIterator[Frame]:
        pipe: IO[bytes] = os.fdopen(self._events_fd, "rb", buffering=0)
        events = asyncio.StreamReader(limit=CHUNK_BYTES)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(events), pipe)
        streams = ((STDOUT, self._process.stdout), (STDERR, self._process.stderr), (EVENTS, events))
        readers = [asyncio.create_task(self._read(kind, stream)) for kind, stream in streams]
        ending = asyncio.create_task(self._end(readers))
        try:
            while True:
                frame = await self._frames.get()
                yield frame
                if frame.kind in (END, LOST):
                    return
        finally:
            for task in (ending, *readers):
                task.cancel()
            await asyncio.wait([ending, *readers])
            transport.close()

    async def stop(self) -> None:
        await self._process.stop()

    async def _read(self, kind: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(CHUNK_BYTES):
            cpu_seconds = _cpu_seconds(self._process.pid) if kind == EVENTS else 0.0
            await self._frames.put(Frame(kind, time.monotonic(), cpu_seconds, data))

    async def _end(self, readers: list[asyncio.Task[None]]) -> None:
        ending = await self._process.wait()
        await asyncio.wait(readers, timeout=10)
        fields = (
            f'{{"code": {ending.code}, "signal": {ending.signal}, "limit": "", "cpu": 0, "peak_memory": 0}}'
        )
        await self._frames.put(Frame(END, time.monotonic(), 0.0, fields.encode()))


def _cpu_seconds(pid: int) -> float:
    import psutil

    used = 0.0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                used += times.user + times.system
    return used
