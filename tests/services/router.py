"""A router between a client and a server that cuts its links, or forgets them without a word as NAT does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
RouterKind = TypeVar("RouterKind", bound="Router")


@dataclass(eq=False)
class Link:
    """A connection, with its end at the client and its end at the server."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    last: float = field(default_factory=time.monotonic)
    forgotten: bool = False


class Router:
    """Forwards connections to HOST:PORT; `closed` counts those that ended, `cuts` how often they were cut."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._host, self._port = host, int(port)
        self._open: set[Link] = set()
        self.links: list[Link] = []
        self.closed = self.cuts = 0
        self.address = ""

    def cut(self) -> None:
        """Resets what is open now."""
        for link in self._open:
            for end in link.ends:
                end.transport.abort()
        self.cuts += 1

    def forget(self) -> None:
        """Of what is open now nothing is passed on any more; neither side is told."""
        for link in self._open:
            link.forgotten = True

    def look_at(self, data: bytes, link: Link, *, from_client: bool) -> None:
        """Called before data is passed on; a router of another kind forgets or counts here."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
            link = Link((writer, far_writer))
            self.links.append(link)
            self._open.add(link)
            await asyncio.gather(self._pass(reader, link, 1), self._pass(far_reader, link, 0))
            self._open.remove(link)
            far_writer.close()
        writer.close()
        self.closed += 1

    async def _pass(self, reader: asyncio.StreamReader, link: Link, to: int) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                self.look_at(data, link, from_client=to == 1)
                if not link.forgotten:
                    link.ends[to].write(data)
                    await link.ends[to].drain()
                link.last = time.monotonic()
        if not link.forgotten:
            link.ends[to].close()


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """A TCP server on a free port; its address."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def running(router: RouterKind) -> AsyncIterator[RouterKind]:
    async with listening(router.serve) as router.address:
        try:
            yield router
        finally:
            router.cut()


def routing(target: str) -> AbstractAsyncContextManager[Router]:
    return running(Router(target))
