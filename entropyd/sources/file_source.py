"""`file:` replays raw unsigned 8-bit I/Q samples from a file, for tests and demonstrations.

What is replayed is known to whoever has the file: bytes made from it are labelled `file` and carry no
claim of entropy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Self

from entropyd.source import (
    Chunk,
    EntropySource,
    SourceDescription,
    SourceKind,
    SourceUnavailableError,
)
from services.errors import ConfigurationError


class FileSource:
    """Chunks of a capture at the pace of `sample_rate` (pairs a second; 0 for as fast as it is read).

    At the end of the file it starts again when `loop` is set, else `read` raises with cause "ended".
    A tail shorter than one chunk is left out.
    """

    def __init__(
        self,
        path: Path,
        *,
        chunk_bytes: int = 262_144,
        sample_rate: float = 0.0,
        loop: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._chunk_bytes = chunk_bytes
        self._seconds_per_chunk = chunk_bytes / 2 / sample_rate if sample_rate else 0.0
        self._loop = loop
        self._sleep = sleep
        self._sequence = 0
        self._file: BinaryIO | None = None

    @property
    def description(self) -> SourceDescription:
        return SourceDescription(SourceKind.FILE, f"file:{self._path.name}", raw=True)

    async def __aenter__(self) -> Self:
        self._file = open_capture(self._path, self._chunk_bytes)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def read(self) -> Chunk:
        if self._file is None:
            raise SourceUnavailableError("the file is not open", cause="ended")
        if self._seconds_per_chunk:
            await self._sleep(self._seconds_per_chunk)
        else:
            await asyncio.sleep(0)
        data = self._file.read(self._chunk_bytes)
        if len(data) < self._chunk_bytes and self._loop:
            self._file.seek(0)
            data = self._file.read(self._chunk_bytes)
        if len(data) < self._chunk_bytes:
            raise SourceUnavailableError(f"{str(self._path)!r} has ended", cause="ended")
        chunk = Chunk(data, self._sequence, time.monotonic(), self._chunk_bytes)
        self._sequence += 1
        return chunk


def open_capture(path: Path, chunk_bytes: int) -> BinaryIO:
    """Raises SourceUnavailableError for what cannot be read or holds less than one chunk."""
    try:
        file = path.open("rb")
        size = path.stat().st_size
    except OSError as error:
        raise SourceUnavailableError(
            f"--source file: cannot read {str(path)!r}: {error.strerror}", cause="no-device"
        ) from error
    if size < chunk_bytes:
        file.close()
        raise SourceUnavailableError(
            f"--source file: {str(path)!r} has {size} bytes; one chunk needs {chunk_bytes}",
            cause="no-device",
        )
    return file


def parse_file_url(url: str) -> tuple[Path, bool]:
    """Path and whether to loop, of `file:PATH`, `file:///PATH` or either with `?once` behind it.

    Raises ConfigurationError for an empty path.
    """
    text = url.removeprefix("file:")
    loop = not text.endswith("?once")
    text = text.removesuffix("?once")
    if text.startswith("///"):
        text = text[2:]
    if not text:
        raise ConfigurationError(f"--source: {url!r} names no file; write file:capture.iq")
    return Path(text), loop


_: type[EntropySource] = FileSource
