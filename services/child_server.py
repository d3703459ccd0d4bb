"""A server of ours as a child process, for benchmarks: started, awaited, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.errors import ConfigurationError

STOP_SECONDS = 15.0  # longer than any daemon drains


@asynccontextmanager
async def child_server(
    module: str, *arguments: str, start_seconds: float = 60.0, stderr: int | None = None
) -> AsyncIterator[dict[str, str]]:
    """The addresses that `python -m module` announces; the process ends with the block.

    stderr is as for a subprocess. Raises ConfigurationError when it ends, or says nothing for
    `start_seconds`, before it serves.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE, stderr=stderr
    )
    assert process.stdout is not None
    try:
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(process.stdout.readline(), start_seconds)
        if not line:
            raise ConfigurationError(f"{module} did not start; run `python -m {module}` to see why")
        yield json.loads(line)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
