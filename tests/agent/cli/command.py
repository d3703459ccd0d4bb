"""Runs `autoresearch` as a process of its own, as a person or a script does."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


async def start_command(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> asyncio.subprocess.Process:
    clean = {
        name: value for name, value in os.environ.items() if not name.endswith("_API_KEY") and name != "UV"
    }
    # As after `. .venv/bin/activate`: what is printed to be copied is then the same on every machine.
    clean["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent.cli",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=clean | environment,
    )


async def run_command(
    *arguments: str, cwd: Path | None = None, timeout: float = 60.0, **environment: str
) -> Result:
    """Ends with the command. Every command must be silent about tracebacks, so this checks it."""
    process = await start_command(*arguments, cwd=cwd, **environment)
    out, err = await asyncio.wait_for(process.communicate(), timeout)
    result = Result(process.returncode or 0, out.decode(), err.decode())
    assert "Traceback" not in result.err
    assert "Traceback" not in result.out
    return result
