"""`rtlsdr:[SERIAL]`: a dongle on this machine, read by a process of its own.

pyrtlsdr's stream waits for ever after an unplug, its cancel can crash, its licence is the GPL: all three
stay behind the process boundary. To stop, the process is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import asdict
from typing import Any, Self

from entropyd.source import (
    Chunk,
    EntropySource,
    SourceDescription,
    SourceKind,
    SourceUnavailableError,
)
from entropyd.sources.reader_frames import CHUNK, ERROR, HELLO, Frame, read_frame
from entropyd.sources.tuning import Tuning

READER_MODULE = "entropyd.sources.rtlsdr_reader"


class RtlSdrSource:
    """Starts the reader, passes its chunks on, and turns its errors and its death into causes."""

    def __init__(self, tuning: Tuning, *, open_timeout: float = 10.0) -> None:
        self._tuning = tuning
        self._open_timeout = open_timeout
        self._process: asyncio.subprocess.Process | None = None

    @property
    def description(self) -> SourceDescription:
        megahertz = self._tuning.frequency_hz / 1e6
        detail = f"rtlsdr:{self._tuning.serial or '0'} @ {megahertz:g} MHz"
        return SourceDescription(SourceKind.RADIO, detail, raw=True)

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process else None

    async def __aenter__(self) -> Self:
        self._process = await start_reader(asdict(self._tuning), self._tuning.library_folder)
        try:
            async with asyncio.timeout(self._open_timeout):
                frame = await self._next()
        except TimeoutError as error:
            await self._kill()
            raise SourceUnavailableError(
                f"the dongle did not open within {self._open_timeout:g} s", cause="stalled"
            ) from error
        except BaseException:
            await self._kill()
            raise
        if frame.kind != HELLO:
            await self._kill()
            raise SourceUnavailableError("the reader did not introduce itself", cause="crashed")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._kill()

    async def read(self) -> Chunk:
        frame = await self._next()
        if frame.kind != CHUNK:
            raise SourceUnavailableError("the reader sent no chunk", cause="crashed")
        return Chunk(frame.payload, frame.sequence, frame.at, self._tuning.chunk_bytes)

    async def _next(self) -> Frame:
        process = self._process
        if process is None or process.stdout is None:
            raise SourceUnavailableError("the reader is not running", cause="unplugged")
        try:
            frame = await read_frame(process.stdout)
        except (asyncio.IncompleteReadError, ValueError) as error:
            code = await wait_briefly(process)
            raise SourceUnavailableError(
                f"the reader process ended ({describe_exit(code)})", cause="crashed"
            ) from error
        if frame.kind == ERROR:
            fault: dict[str, Any] = json.loads(frame.payload)
            cause = str(fault["cause"])
            # Each try starts a process: a dongle may be plugged in soon, a library is installed rarely.
            retry_after = {"no-device": 3.0, "library-missing": 60.0, "library-too-old": 60.0}.get(cause)
            raise SourceUnavailableError(str(fault["message"]), cause=cause, retry_after=retry_after)
        return frame

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await wait_briefly(process)


async def start_reader(wishes: dict[str, Any], library_folder: str) -> asyncio.subprocess.Process:
    """A reader process with pipes on stdin and stdout."""
    environment = dict(os.environ)  # noqa: TID251 - the environment of a child process
    if library_folder:
        environment["LD_LIBRARY_PATH"] = library_folder
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        READER_MODULE,
        json.dumps(wishes),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
        limit=1_048_576,
    )


async def wait_briefly(process: asyncio.subprocess.Process, seconds: float = 3.0) -> int | None:
    """The exit code; None when the process hangs in the kernel, where nobody can end it."""
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        return None


def describe_exit(code: int | None) -> str:
    if code is None:
        return "it hangs"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


_: type[EntropySource] = RtlSdrSource
