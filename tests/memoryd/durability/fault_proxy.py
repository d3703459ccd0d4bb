"""A TCP proxy that loses answers: it cuts a share of the connections just when the server has answered."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FaultProxy:
    """`drop_share` of the answers are thrown away with their connection; `delay` holds back the others."""

    def __init__(self, target: str, *, drop_share: float, delay: float = 0.0, seed: int = 1) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._drop_share = drop_share
        self._delay = delay
        self._rng = random.Random(seed)
        self.dropped = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.close()
            return
        upward = asyncio.create_task(self._pass_on(reader, server_writer, may_drop=False))
        downward = asyncio.create_task(self._pass_on(server_reader, writer, may_drop=True))
        try:
            await asyncio.wait([upward, downward], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (upward, downward):
                task.cancel()
            for end in (writer, server_writer):
                end.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, may_drop: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if may_drop and self._rng.random() < self._drop_share:
                    self.dropped += 1
                    return
                if may_drop and self._delay:
                    await asyncio.sleep(self._rng.random() * self._delay)
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxied(target: str, *, drop_share: float, seed: int = 1) -> AsyncIterator[tuple[str, FaultProxy]]:
    """The proxy's HOST:PORT and itself."""
    proxy = FaultProxy(target, drop_share=drop_share, seed=seed)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", proxy
    finally:
        server.close()
