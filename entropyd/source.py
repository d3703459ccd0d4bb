"""The seam to whatever random bytes come from; `entropyd.sources` chooses an implementation by its URL."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from services.errors import UnavailableError


class SourceKind(StrEnum):
    """What a source may be called in answers. Only a live receiver is a radio."""

    RADIO = "radio"
    OS = "os"
    FILE = "file"
    REMOTE = "remote"


@dataclass(frozen=True)
class SourceDescription:
    """Who is speaking. `raw` sources deliver 8-bit I/Q samples, which need tests and conditioning;
    the others deliver finished bytes."""

    kind: SourceKind
    detail: str
    raw: bool


@dataclass(frozen=True)
class Chunk:
    """A run of bytes from a source.

    data: interleaved unsigned 8-bit I, Q for raw sources, whole I/Q pairs; finished bytes otherwise.
    sequence: 0, 1, 2, … since the source was opened.
    arrived_at: seconds of the monotonic clock when the last byte was received.
    dropped_bytes: bytes known to be lost between the chunk before and this one.
    expected_bytes: how many bytes were asked for; fewer in `data` is a short read.
    statement: what a remote server says of these bytes; None for our own sources.
    """

    data: bytes
    sequence: int
    arrived_at: float
    expected_bytes: int
    dropped_bytes: int = 0
    statement: RemoteStatement | None = None


@dataclass(frozen=True)
class RemoteStatement:
    """What another server claims: empty strings and 0.0 where it says nothing (sdr-rand, gnosis-radio)."""

    source: str = ""
    health: str = ""
    pool: str = ""
    claimed_min_entropy_bits: float = 0.0
    draw_id: str = ""


class SourceUnavailableError(UnavailableError):
    """The source gives nothing now. `cause` is a documented name: library-missing, library-too-old,
    no-device, no-permission, busy, unplugged, read-error, stalled, crashed, refused, ended, not-rtl-tcp,
    bad-answer; or the name of the health test that failed for good. `retry_after`, in seconds, is set
    where trying again is costly and soon in vain."""

    default_reason = "SOURCE_UNHEALTHY"

    def __init__(self, message: str, *, cause: str, retry_after: float | None = None) -> None:
        super().__init__(message, metadata={"test": cause}, retry_after=retry_after)
        self.cause = cause


class EntropySource(AbstractAsyncContextManager["EntropySource"], Protocol):
    """Contract, for every implementation:

    - Entering opens the source or raises SourceUnavailableError; nothing is left open then.
    - `read` waits for the next chunk; sequences count up by one. It raises SourceUnavailableError once
      the source has gone, and again at each further call; it never returns an empty chunk.
    - A cancelled `read` leaves the source fit to be closed. Leaving the context always succeeds, within
      five seconds, also when the device hangs, and may be done twice.
    - Bytes are handed out once: no implementation repeats a buffer.
    """

    @property
    def description(self) -> SourceDescription: ...

    async def read(self) -> Chunk: ...
