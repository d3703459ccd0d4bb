"""A real trainerd process with its client."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from services.trainer_client import TrainerClient

ANYWHERE = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]


@dataclass
class Daemon:
    process: asyncio.subprocess.Process
    client: TrainerClient
    http: str


@asynccontextmanager
async def trainerd(
    state: Path, data: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Daemon]:
    command = ["-m", "trainer", *ANYWHERE, "--state", str(state), "--data", str(data), *flags]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment) if environment is not None else None,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            assert process.stderr is not None
            raise AssertionError((await process.stderr.read()).decode())
        addresses = json.loads(line)
        async with TrainerClient(addresses["grpc"]) as client:
            yield Daemon(process, client, addresses["http"])
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 20)


def processes_below(folder: Path) -> list[psutil.Process]:
    """Living processes whose command line or working folder lies below a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        text = " ".join(process.info["cmdline"] or ()) + " " + str(process.info["cwd"])
        if str(folder) in text and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
