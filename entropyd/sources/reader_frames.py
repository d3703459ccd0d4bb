"""What the reader process and its parent say to each other over a pipe: typed frames with a length.

    kind (1 byte: H hello, C chunk, E error) ‖ sequence u64 ‖ monotonic seconds f64 ‖ length u32 ‖ payload

Hello and error carry JSON: {"device", "gain_db"} and {"cause", "message"}.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

HELLO, CHUNK, ERROR = b"H", b"C", b"E"
_HEADER = struct.Struct(">cQdI")
MAX_PAYLOAD = 16 * 1024 * 1024


@dataclass(frozen=True)
class Frame:
    kind: bytes
    sequence: int
    at: float
    payload: bytes


def pack_frame(kind: bytes, payload: bytes, *, sequence: int = 0, at: float = 0.0) -> bytes:
    return _HEADER.pack(kind, sequence, at, len(payload)) + payload


async def read_frame(stream: asyncio.StreamReader) -> Frame:
    """Raises asyncio.IncompleteReadError at the end of the stream and ValueError for what is no frame."""
    kind, sequence, at, length = _HEADER.unpack(await stream.readexactly(_HEADER.size))
    if kind not in (HELLO, CHUNK, ERROR) or length > MAX_PAYLOAD:
        raise ValueError(f"{kind!r} with {length} bytes is no frame of the reader")
    return Frame(kind, sequence, at, await stream.readexactly(length))
