"""A router between a client and a server: cuts its links, or forgets them without a word as NAT does."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass(eq=False)
class Link:
    """A connection, with its end at the client and its end at the server."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    last: float = field(default_factory=time.monotonic)
    forgotten: bool = False

    def reset(self) -> None:
        for end in self.ends:
            end.transport.abort()


class Router:
    """Forwards connections to HOST:PORT inside `async with`.

    `closed` counts those that ended, `cuts` how often they were cut."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._host, self._port = host, int(port)
        self._open: set[Link] = set()
        self.links: list[Link] = []
        self.closed = self.cuts = 0
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Resets what is open now."""
        for link in self._open:
            link.reset()
        self.cuts += 1

    def forget(self) -> None:
        """Of what is open now nothing is passed on any more; neither side is told."""
        for link in self._open:
            link.forgotten = True

    def passes(self, data: bytes, link: Link, *, from_client: bool) -> bool:
        """Whether data is passed on; a router of another kind forgets, resets or counts here."""
        return not link.forgotten

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
                if self.passes(data, link, from_client=to == 1):
                    link.ends[to].write(data)
                    await link.ends[to].drain()
                link.last = time.monotonic()
        if not link.forgotten:
            link.ends[to].close()
