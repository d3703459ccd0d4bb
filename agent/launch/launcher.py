"""One daemon as a child process: started, announced, stopped with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from pathlib import Path

import psutil

from agent.launch.environment import child_environment
from agent.launch.plan import DaemonPlan
from services.errors import ConfigurationError, UnavailableError

LOG_LIMIT_BYTES = 16 * 1024 * 1024
FULL_BYTES = 64 * 1024
"""With less free, a daemon that ended without a word had no room for one."""


class Daemon:
    """A child that announced its addresses. Its stderr goes to the log file, its stdout is drained."""

    def __init__(
        self, plan: DaemonPlan, process: asyncio.subprocess.Process, addresses: dict[str, str]
    ) -> None:
        self.plan = plan
        self.process = process
        self.grpc = addresses["grpc"]
        self.http = addresses.get("http", "")
        self._drain = asyncio.create_task(_drain(process))

    async def stop(self, grace_seconds: float) -> None:
        """SIGTERM, then kill after `grace_seconds`; its descendants are gone as well when this returns."""
        descendants = _descendants(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), grace_seconds)
        except TimeoutError:
            descendants |= _descendants(self.process.pid)
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.kill()  # psutil compares the start time: a reused pid is left alone
        self._drain.cancel()


async def start_daemon(
    plan: DaemonPlan, logs: Path, *, announce_timeout: float = 120.0, python: str = sys.executable
) -> Daemon:
    """Starts a child and waits for its announcement.

    Raises ConfigurationError when it refuses its settings (its own line is the message), and
    UnavailableError when it ends otherwise or says nothing in time. Nothing is left running then.
    """
    log_path = logs / f"{plan.name}.log"
    _rotate(log_path)
    command = (python, "-P", "-m", plan.module, *plan.arguments)
    with log_path.open("ab") as log:
        begin = log.tell()
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=child_environment(with_keys=plan.with_keys),
            start_new_session=sys.platform != "win32",  # Ctrl-C reaches us alone, and we stop in order
        )
    try:
        addresses = await asyncio.wait_for(_read_announcement(process), announce_timeout)
    except TimeoutError:
        await _kill(process)
        raise UnavailableError(
            f"{plan.name} did not announce its address within {announce_timeout:.0f} s; see {log_path}",
            reason="DAEMON_SILENT",
        ) from None
    except BaseException:
        await _kill(process)
        raise
    if addresses is None:
        code = await process.wait()
        last = _last_line(log_path, begin)
        if code == 2:
            raise ConfigurationError(f"{plan.name}: {last.removeprefix('error: ')}")
        raise UnavailableError(
            f"{plan.name} ended with code {code} before it served: {last} (log: {log_path})",
            reason="DAEMON_FAILED",
        )
    return Daemon(plan, process, addresses)


async def _read_announcement(process: asyncio.subprocess.Process) -> dict[str, str] | None:
    """The first JSON object with a "grpc" address on stdout; None when stdout ends without one."""
    assert process.stdout is not None
    async for line in process.stdout:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "grpc" in entry:
            return {str(name): str(value) for name, value in entry.items()}
    return None


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while await process.stdout.read(65536):
        pass


async def _kill(process: asyncio.subprocess.Process) -> None:
    for child in _descendants(process.pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            child.kill()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _descendants(pid: int) -> set[psutil.Process]:
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return set()


def _last_line(path: Path, begin: int) -> str:
    """The last line that says something; a JSON log line is reduced to its message."""
    with path.open("rb") as log:
        log.seek(begin)
        lines = [line for line in log.read()[-65536:].decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        full = shutil.disk_usage(path.parent).free < FULL_BYTES
        return f"the disk of {path.parent} is full: free some space" if full else "it said nothing"
    try:
        return str(json.loads(lines[-1])["message"])
    except (ValueError, KeyError, TypeError):
        return lines[-1].strip()[:500]


def _rotate(path: Path) -> None:
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
