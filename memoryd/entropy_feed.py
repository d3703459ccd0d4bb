"""Where the clock's entropy comes from: entropyd over gRPC, a radio's HTTP API, or the operating system."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, Self

import aiohttp
from autoresearch.entropy.v1 import entropy_pb2 as pb

from services.entropy_client import EntropyClient
from services.errors import ServiceError
from services.outgoing_https import SYSTEM_TRUST, HttpsTrust, explain_https

BYTES_PER_TICK = 64
_SOURCES = {pb.SOURCE_RADIO: "radio", pb.SOURCE_OS: "os", pb.SOURCE_FILE: "file", pb.SOURCE_REMOTE: "remote"}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deposit:
    """Bytes and an honest label of their source: "radio", "os", "remote", "file"."""

    data: bytes
    source: str


class EntropyFeed(Protocol):
    async def fetch(self, byte_count: int) -> Deposit | None:
        """1 to `byte_count` bytes, or None when the source has none. Bounded in time; never raises."""

    async def close(self) -> None:
        """Ends connections."""


class EntropydFeed:
    """entropyd over gRPC; says "radio" only when entropyd does."""

    def __init__(self, client: EntropyClient) -> None:
        self._client = client

    async def fetch(self, byte_count: int) -> Deposit | None:
        try:
            drawn = await self._client.draw(byte_count, purpose="memoryd clock", pool=pb.POOL_DRBG)
        except ServiceError as error:
            log.debug("entropyd does not answer: %s", error)
            return None
        return Deposit(drawn.entropy, _SOURCES.get(drawn.provenance.source, "remote"))

    async def close(self) -> None:
        await self._client.close()


class RadioFeed:
    """The HTTP API of gnosis-radio and its kin; what lies behind it is not known, so it is "remote"."""

    def __init__(self, url: str, trust: HttpsTrust = SYSTEM_TRUST) -> None:
        self._url = url.rstrip("/")
        self._trust = trust
        self._complaint = ""
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, byte_count: int) -> Deposit | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0))
        address = f"{self._url}/api/entropy?bytes={byte_count}&format=json"
        try:
            async with self._session.get(address, ssl=self._trust) as response:
                if response.status != 200:
                    return None
                body = await response.json(content_type=None)
            data = bytes.fromhex(str(body.get("entropy_hex") or body.get("hex") or ""))
        except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError) as error:
            self._complain(explain_https(error, self._url))
            log.debug("the radio does not answer: %s", error)
            return None
        self._complain(None)
        if not data:
            return None  # a radio whose pool is empty answers so
        label = str(body.get("source", "remote"))
        return Deposit(data[:byte_count], label if label in ("radio", "os", "file") else "remote")

    def _complain(self, why: str | None) -> None:
        """A certificate does not mend itself, as a radio that is away may: once, where it is read."""
        if why and why != self._complaint:
            log.warning("--radio-url: %s does not answer: %s", self._url, why)
        self._complaint = why or ""

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class LocalFeed:
    """The operating system, for stores that shall dream without a radio."""

    async def fetch(self, byte_count: int) -> Deposit | None:
        return Deposit(os.urandom(byte_count), "os")

    async def close(self) -> None:
        return None


class FirstFeed(AbstractAsyncContextManager["FirstFeed"]):
    """The first of several feeds that has something."""

    def __init__(self, *feeds: EntropyFeed) -> None:
        self._feeds = feeds

    async def fetch(self, byte_count: int) -> Deposit | None:
        for feed in self._feeds:
            deposit = await feed.fetch(byte_count)
            if deposit is not None:
                return deposit
        return None

    async def close(self) -> None:
        await asyncio.gather(*(feed.close() for feed in self._feeds))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


_: list[type[EntropyFeed]] = [EntropydFeed, RadioFeed, LocalFeed, FirstFeed]
