"""A router between a client and a server that cuts its links, or forgets them without a word as NAT does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Router:
    """Forwards connections to HOST:PORT; `opened` and `closed` count them, `cuts` how often they were cut."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._host, self._port = host, int(port)
        self._ends: set[asyncio.StreamWriter] = set()
        self._forgotten: set[asyncio.StreamWriter] = set()
        self.opened = self.closed = self.cuts = 0
        self.address = ""

    def cut(self) -> None:
        """Resets what is open now."""
        for writer in list(self._ends):
            writer.transport.abort()
        self.cuts += 1

    def forget(self) -> None:
        """Of what is open now nothing is passed on any more; neither side is told."""
        self._forgotten |= self._ends

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        ends = {writer}
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
            ends.add(far_writer)
            self._ends |= ends
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        self._ends -= ends
        for end in ends:
            end.close()
        self.closed += 1

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if writer not in self._forgotten:
                    writer.write(data)
                    await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """A TCP server on a free port; its address."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def routing(target: str) -> AsyncIterator[Router]:
    router = Router(target)
    async with listening(router.serve) as router.address:
        try:
            yield router
        finally:
            router.cut()
