"""A server of ours as a child process, for benchmarks: started, awaited, ended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.errors import ConfigurationError


@asynccontextmanager
async def child_server(
    module: str, *arguments: str, start_seconds: float = 60.0, stderr: int | None = None
) -> AsyncIterator[dict[str, str]]:
    """The addresses that `python -m module` announces; the process ends with the block.

    stderr is as for a subprocess. Raises ConfigurationError when it ends before it serves.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE, stderr=stderr
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), start_seconds)
        if not line:
            raise ConfigurationError(f"{module} did not start; run `python -m {module}` to see why")
        yield json.loads(line)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
