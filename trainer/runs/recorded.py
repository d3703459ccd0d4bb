"""A training process whose words come as frames: recorded by a supervisor that may outlive this daemon, or,
where there is no supervisor, read from its pipes."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from trainer.runs.process_tree import kill_tree
from trainer.sandbox.launch import Ending, read_ending, supervisor_command, supervisor_environment
from trainer.sandbox.plan import Plan
from trainer.sandbox.recording import (
    BEGIN,
    END,
    LOST,
    Frame,
    Identity,
    identify,
    parse_frames,
    parse_identity,
)

POLL_SECONDS = 0.05
TERMINATE_SECONDS = 3.0
ENGINE_SECONDS = 20.0  # the same where a container engine has to end the tree
READ_BYTES = 1 << 20
LEAST_FREE_BYTES = 1 << 20


class FramedProcess(Protocol):
    """A process tree that is being recorded.

    `frames` yields every frame from the beginning; the last one, "end" or "lost", comes when the whole tree
    is gone; `caught_up` is set once all that was said before now has been yielded. `stop` ends
    the tree and returns when it is gone.
    """

    caught_up: asyncio.Event

    def frames(self) -> AsyncIterator[Frame]: ...

    async def stop(self) -> None: ...


class RecordedProcess:
    """A supervisor, started by this daemon or by an earlier one, and its record."""

    def __init__(
        self, record: Path, started: subprocess.Popen[bytes] | Identity, patience: float = ENGINE_SECONDS
    ) -> None:
        self.caught_up = asyncio.Event()
        self._record, self._started, self._patience = record, started, patience

    @classmethod
    def start(cls, plan: Plan, plan_path: Path) -> RecordedProcess:
        """Raises OSError. asyncio's own processes are killed when their loop is closed: this one is not."""
        assert plan.recording is not None
        record = Path(plan.recording.path)
        record.unlink(missing_ok=True)
        child = subprocess.Popen(
            supervisor_command(plan, plan_path, -1),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=supervisor_environment(),
            cwd=plan.folder,
            start_new_session=True,
        )
        return cls(record, child, ENGINE_SECONDS if plan.tier == "CONTAINER" else TERMINATE_SECONDS)

    @classmethod
    def find(cls, record: Path) -> RecordedProcess | None:
        """The supervisor that wrote a record, alive or not; None where there is no record of this boot."""
        try:
            with record.open("rb") as stream:
                frames, _ = parse_frames(stream.read(READ_BYTES))
        except (OSError, ValueError):
            return None
        if not frames or frames[0].kind != BEGIN:
            return None
        identity, own = parse_identity(frames[0].data.decode("ascii", "replace")), identify(os.getpid())
        if identity is None or own is None or identity.boot != own.boot:
            return None
        return cls(record, identity)

    @property
    def is_alive(self) -> bool:
        if isinstance(self._started, Identity):
            return self._started.is_alive()
        return self._started.poll() is None

    async def frames(self) -> AsyncIterator[Frame]:
        """Raises OSError (ENOSPC) when it ended without a word and the disk is full."""
        offset = 0
        while True:
            alive = self.is_alive  # asked first: what it wrote last is read below
            data = self._read(offset)
            frames, taken = parse_frames(data)
            offset += taken
            for frame in frames:
                if frame.kind == END:
                    await self._wait()
                yield frame
                if frame.kind == END:
                    return
            if len(data) < READ_BYTES or not taken:
                self.caught_up.set()
                if not alive:
                    break
                await asyncio.sleep(POLL_SECONDS)
            else:
                await asyncio.sleep(0)
        await self.stop()
        if shutil.disk_usage(self._record.parent).free < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield Frame(LOST, time.monotonic(), 0.0, b"")

    async def stop(self) -> None:
        """Ends the tree: the supervisor does it; where that fails, every descendant is killed."""
        if self.is_alive:
            self._signal(signal.SIGTERM)
            await self._wait(self._patience)
        if self.is_alive:
            await kill_tree(self._started.pid)
            await self._wait(self._patience)

    async def _wait(self, seconds: float = 30.0) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self.is_alive and loop.time() < deadline:  # noqa: ASYNC110 - it may be no child of this process
            await asyncio.sleep(POLL_SECONDS / 5)

    def _signal(self, number: int) -> None:
        try:
            os.kill(self._started.pid, number)
        except ProcessLookupError:
            pass

    def _read(self, offset: int) -> bytes:
        try:
            with self._record.open("rb") as stream:
                stream.seek(offset)
                return stream.read(READ_BYTES)
        except FileNotFoundError:
            return b""  # not begun yet


def ending_of(frame: Frame) -> Ending:
    """What the last frame says; a supervisor that was killed has said nothing."""
    return Ending(signal=signal.SIGKILL) if frame.kind == LOST else read_ending(frame.data, 0)
