"""`http://HOST:9090`: a running sdr-rand, gnosis-radio or entropyd elsewhere; labelled remote.

What it says of itself is kept. Only a server that names its source, its health and its claim is credited.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self
from urllib.parse import urlsplit

from entropyd.source import (
    Chunk,
    EntropySource,
    RemoteStatement,
    SourceDescription,
    SourceKind,
    SourceUnavailableError,
)
from services.errors import ConfigurationError
from services.outgoing_https import SYSTEM_TRUST, HttpsTrust, explain_https

REQUEST_BYTES = 4096
LARGEST_ANSWER = 64 * 1024
_WORD = re.compile(r"[A-Za-z0-9._ -]{0,40}")


class HttpSource:
    """Asks for up to 4,096 bytes every `interval` seconds; an empty pool over there is waited for."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        trust: HttpsTrust = SYSTEM_TRUST,
        interval: float = 1.0,
        timeout: float = 3.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._trust = trust
        self._interval = interval
        self._timeout = timeout
        self._sleep = sleep
        self._sequence = 0
        self._session: Any = None
        self._first: Chunk | None = None

    @property
    def description(self) -> SourceDescription:
        return SourceDescription(SourceKind.REMOTE, self._url, raw=False)

    async def __aenter__(self) -> Self:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=self._timeout)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        try:
            self._first = await self._ask()
        except BaseException:
            await self._session.close()
            self._session = None
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def read(self) -> Chunk:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while True:
            await self._sleep(self._interval)
            chunk = await self._ask()
            if chunk is not None:
                return chunk

    async def _ask(self) -> Chunk | None:
        import aiohttp

        if self._session is None:
            raise SourceUnavailableError("the connection is closed", cause="unplugged")
        target = f"{self._url}/api/entropy?bytes={REQUEST_BYTES}&format=json"
        try:
            async with self._session.get(target, allow_redirects=False, ssl=self._trust) as response:
                status, text = response.status, b""
                while len(text) < LARGEST_ANSWER and (part := await response.content.read(LARGEST_ANSWER)):
                    text += part  # `read` alone gives what the first packets brought
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = explain_https(error, self._url) or repr(error)
            raise SourceUnavailableError(f"{self._url} does not answer: {why}", cause="refused") from error
        if status != 200:
            raise SourceUnavailableError(f"{self._url} answered with HTTP {status}", cause="refused")
        data, statement = parse_answer(text, self._url)
        if not data:
            return None
        chunk = Chunk(data, self._sequence, time.monotonic(), len(data), statement=statement)
        self._sequence += 1
        return chunk


def parse_answer(text: bytes, url: str) -> tuple[bytes, RemoteStatement]:
    """Bytes and statement in a JSON answer, gnosis's or hertz's. Raises SourceUnavailableError."""
    try:
        fields = json.loads(text)
        data = bytes.fromhex(fields.get("entropy_hex", fields.get("hex")))
    except (ValueError, TypeError, AttributeError) as error:
        raise SourceUnavailableError(f"{url} answered with something else", cause="bad-answer") from error
    claimed = fields.get("claimed_min_entropy_bits", 0.0)
    is_number = isinstance(claimed, int | float) and not isinstance(claimed, bool) and claimed >= 0
    return data, RemoteStatement(
        source=_word(fields.get("source")),
        health=_word(fields.get("health")),
        pool=_word(fields.get("quality")),
        claimed_min_entropy_bits=min(float(claimed), 8.0 * len(data)) if is_number else 0.0,
        draw_id=_word(fields.get("draw_id")),
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def check_http_url(url: str) -> str:
    """Raises ConfigurationError for what is no http(s)://HOST[:PORT]."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if usable and parts.username is not None:
        raise ConfigurationError(
            "--source: credentials do not belong into a URL; use --source-token-file for the bearer token"
        )
    if not usable:
        raise ConfigurationError(f"--source: {url!r} is not http://HOST:PORT")
    return url


_: type[EntropySource] = HttpSource
