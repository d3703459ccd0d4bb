"""Runs a verb of another daemon (`python -m trainer …`) with this terminal, and ends it with us."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import psutil

from agent.cli.ending import end_process
from agent.cli.exit_codes import ExitCode
from agent.cli.interrupts import catch_interrupts
from agent.launch.environment import child_environment

GRACE_SECONDS = 4.0


def run_module(module: str, arguments: list[str]) -> int:
    """The child's exit code; 130 when a signal ended it. It gets our terminal and none of our keys."""
    return asyncio.run(_run(module, arguments))


async def _run(module: str, arguments: list[str]) -> int:
    with catch_interrupts() as asked:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            module,
            *arguments,
            env=child_environment(with_keys=False),
            start_new_session=sys.platform != "win32",  # a signal reaches us alone and is passed on once
        )
        ended = asyncio.create_task(process.wait())
        interrupted = asyncio.create_task(asked.wait())
        await asyncio.wait({ended, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        interrupted.cancel()
        if ended.done():
            return ended.result() if ended.result() >= 0 else ExitCode.FAILED
        await _end(process)
        await ended
        return ExitCode.INTERRUPTED


async def _end(process: asyncio.subprocess.Process) -> None:
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    await end_process(process, GRACE_SECONDS)
    for child in family:
        with contextlib.suppress(psutil.Error):
            child.kill()
