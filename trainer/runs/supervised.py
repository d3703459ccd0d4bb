"""A supervised process tree, for asyncio."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from trainer.runs.process_tree import kill_tree
from trainer.sandbox.launch import (
    Ending,
    has_supervisor,
    read_ending,
    supervisor_command,
    supervisor_environment,
)
from trainer.sandbox.plan import Plan

TERMINATE_SECONDS = 3.0  # what the supervisor may take to end its tree
ENGINE_SECONDS = 20.0  # the same where a container engine has to do it


class SupervisedProcess:
    """One tree that a plan describes; `stop` and `wait` both return only when its last process is gone."""

    def __init__(self, process: asyncio.subprocess.Process, status_fd: int, patience: float) -> None:
        self._process = process
        self._status_fd = status_fd
        self._patience = patience
        self._ending: Ending | None = None
        assert process.stdout is not None
        assert process.stderr is not None
        self.stdout: asyncio.StreamReader = process.stdout
        self.stderr: asyncio.StreamReader = process.stderr

    @classmethod
    async def start(cls, plan: Plan, plan_path: Path) -> SupervisedProcess:
        """Raises OSError."""
        read_fd, write_fd = os.pipe()
        command = supervisor_command(plan, plan_path, write_fd) if has_supervisor() else list(plan.command)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=supervisor_environment() if has_supervisor() else dict(plan.environment),
                cwd=plan.folder,
                start_new_session=True,
                pass_fds=(write_fd, *plan.keep_fds) if os.name == "posix" else (),
                limit=1 << 20,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        return cls(process, read_fd, ENGINE_SECONDS if plan.tier == "CONTAINER" else TERMINATE_SECONDS)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> Ending:
        """Waits for the end and says how it was."""
        code = await self._process.wait()
        if self._ending is None:
            self._ending = read_ending(_drain(self._status_fd), code)
            os.close(self._status_fd)
        return self._ending

    async def stop(self) -> Ending:
        """Ends the tree: the supervisor does it; where that fails, every descendant is killed."""
        if self._process.returncode is None:
            if has_supervisor():
                self._signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(self._process.wait(), self._patience)
                except TimeoutError:
                    pass
            if self._process.returncode is None:
                await kill_tree(self._process.pid)
        return await self.wait()

    def _signal(self, number: int) -> None:
        try:
            self._process.send_signal(number)
        except ProcessLookupError:
            pass


async def read_whole(stream: asyncio.StreamReader, most: int) -> bytes:
    """What comes until the stream ends; of more than `most` bytes the last ones, so that its writer never has
    to wait."""
    kept = b""
    while part := await stream.read(65_536):
        kept = (kept + part)[-most:]
    return kept


def _drain(descriptor: int) -> bytes:
    """What is in the pipe now; writers that live on do not block this."""
    os.set_blocking(descriptor, False)
    parts = []
    try:
        while part := os.read(descriptor, 65_536):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)
