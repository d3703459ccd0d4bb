"""Real daemons as child processes, that can be killed and come back at the same address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Child:
    """One daemon. `start` announces; a second start takes the same ports."""

    module: str
    arguments: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    grpc: str = "127.0.0.1:0"
    http: str = "127.0.0.1:0"
    process: asyncio.subprocess.Process | None = None

    def command(self) -> list[str]:
        common = ["--listen", self.grpc, "--http-listen", self.http, "--exit-with-parent"]
        return [sys.executable, "-m", self.module, *self.arguments, *common, "--drain-seconds", "0.5"]

    async def start(self) -> Child:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command(),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 120)
        if not line:
            raise AssertionError(f"{self.module} did not start: {self.log.read_text()[-2000:]}")
        said = json.loads(line)
        self.grpc, self.http = said["grpc"], said["http"]
        return self

    async def kill(self) -> None:
        """kill -9, and nothing of it is left when this returns."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 10)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None


@contextlib.contextmanager
def start_blocking(child: Child) -> Iterator[str]:
    """The gRPC address of a daemon that no event loop owns; ended with the block."""
    with child.log.open("ab") as log:
        process = subprocess.Popen(child.command(), stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["grpc"]
    finally:
        process.kill()
        process.wait()


def trainerd(folder: Path, seconds: float = 0.02, slots: int = 1) -> Child:
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--executor", "scripted", "--scripted-seconds", str(seconds)]
    arguments += ["--slots", str(slots), "--state", str(folder / "trainer"), "--data", str(folder / "data")]
    return Child("trainer", arguments, folder / "trainerd.log")


def entropyd(folder: Path) -> Child:
    folder.mkdir(parents=True, exist_ok=True)
    return Child("entropyd", ["--source", "os:", "--state", str(folder / "entropy")], folder / "entropyd.log")


def memoryd(folder: Path) -> Child:
    folder.mkdir(parents=True, exist_ok=True)
    backend = f"sqlite:///{folder / 'memory.db'}"
    return Child("memoryd", ["--backend", backend, "--embedder", "none"], folder / "memoryd.log")


def agentd(
    folder: Path, trainer: str, *, memory: str = "", entropy: str = "", flags: tuple[str, ...] = ()
) -> Child:
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--trainer", trainer, *flags]
    arguments += ["--memory", memory] if memory else []
    arguments += ["--entropy", entropy] if entropy else []
    keys = {"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": "", "GEMINI_API_KEY": "", "GOOGLE_API_KEY": ""}
    return Child("agent", arguments, folder / "agentd.log", keys)
