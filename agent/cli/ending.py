"""Ends a child process: asked first, and killed when it does not listen."""

from __future__ import annotations

import asyncio
import contextlib


async def end_process(process: asyncio.subprocess.Process, grace_seconds: float) -> int:
    """SIGTERM, and SIGKILL for one that is still there after so long; its exit code."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        return await asyncio.wait_for(process.wait(), grace_seconds)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()
