"""An rtl_tcp server over synthetic noise, about as patient as the real one."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np


def binomial_noise(random: np.random.Generator) -> bytes:
    """131,072 pairs of Binomial(7, 1/2) around 127: sigma 1.32, quick to make."""
    bits = random.integers(0, 128, 262_144, dtype=np.uint8)
    return (124 + np.bitwise_count(bits)).astype(np.uint8).tobytes()


@dataclass
class RtlTcpEmulator:
    """`make` gives the next 256 KiB; `pause` seconds lie between them. Commands are kept."""

    make: Callable[[], bytes]
    pause: float = 0.02
    greeting: bytes = struct.pack(">4sII", b"RTL0", 5, 29)
    port: int = 0
    commands: list[tuple[int, int]] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        listening = asyncio.create_task(self._listen(reader))
        try:
            writer.write(self.greeting)
            while self._server is not None:
                writer.write(self.make())
                await writer.drain()
                await asyncio.sleep(self.pause)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            listening.cancel()
            self._writers.discard(writer)
            writer.transport.abort()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                command, value = struct.unpack(">BI", await reader.readexactly(5))
                self.commands.append((command, value))


@asynccontextmanager
async def rtl_tcp_emulator(
    make: Callable[[], bytes] | None = None, **arguments: object
) -> AsyncIterator[RtlTcpEmulator]:
    random = np.random.default_rng()
    emulator = RtlTcpEmulator(make or (lambda: binomial_noise(random)), **arguments)  # type: ignore[arg-type]
    await emulator.start()
    try:
        yield emulator
    finally:
        await emulator.stop()
