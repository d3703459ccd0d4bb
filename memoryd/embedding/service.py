"""Embeddings from a shivvr-compatible service over HTTP: bounded in time, size and concurrency."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from memoryd.embedding.embedder import REASON, Embedder, Matrix
from services.errors import ConfigurationError, UnavailableError
from services.outgoing_https import SYSTEM_TRUST, HttpsTrust, explain_https

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
ANSWER_SECONDS_TLS = 15.0
CONCURRENT_CALLS = 4
LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
HEALTH_SECONDS = 5.0  # how long one look at the service's health is believed


class ServiceEmbedder:
    """Asks `url` for one text at a time. The first vector fixes the dimension; another length is refused."""

    def __init__(self, url: str, *, token: str | None = None, trust: HttpsTrust = SYSTEM_TRUST) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ConfigurationError(
                f"--embedder: {parts.geturl()!r} is not http://HOST:PORT; a path cannot be used"
            )
        try:
            port = parts.port or (8080 if parts.scheme == "http" else 443)
        except ValueError as error:
            raise ConfigurationError(f"--embedder: {url!r} has no usable port") from error
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.name = urlunsplit((parts.scheme, f"{host}:{port}", "", "", ""))
        self.dimension = 0
        self._trust = trust
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._answer_seconds = ANSWER_SECONDS_TLS if parts.scheme == "https" else ANSWER_SECONDS
        self._slots = asyncio.Semaphore(CONCURRENT_CALLS)
        self._session: Any = None
        self._health: tuple[float, bool] | None = None

    async def embed(self, texts: Sequence[str]) -> Matrix:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = await asyncio.gather(*(self._embed_one(text) for text in texts))
        return np.stack(vectors)

    async def reachable(self) -> bool:
        now = time.monotonic()
        if self._health is not None and now - self._health[0] < HEALTH_SECONDS:
            return self._health[1]
        try:
            async with self._open_session().get(f"{self.name}/health", ssl=self._trust):
                up = True  # any HTTP answer counts, whatever its status
        except (OSError, TimeoutError, _client_error()):
            up = False
        self._health = (now, up)
        return up

    async def invert(self, vector: Sequence[float]) -> str | None:
        try:
            answer = await self._post("/invert", {"embedding": [float(number) for number in vector]})
        except UnavailableError:
            return None
        text = answer.get("text", answer.get("hypothesis")) if isinstance(answer, dict) else None
        return text if isinstance(text, str) else None

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _embed_one(self, text: str) -> Matrix:
        answer = await self._post("/memory/_mcp/ingest", {"text": text})
        numbers = _vector_of(answer)
        try:
            vector = np.asarray(numbers, dtype=np.float32)
        except (TypeError, ValueError, OverflowError):
            vector = np.zeros(0, dtype=np.float32)
        if vector.ndim != 1 or vector.size == 0 or not np.all(np.isfinite(vector)):
            raise UnavailableError(
                f"embed() failed: shivvr did not return a vector for {json.dumps(text, ensure_ascii=False)}",
                reason=REASON,
            )
        if self.dimension == 0:
            self.dimension = int(vector.size)
        if vector.size != self.dimension:
            raise UnavailableError(
                f"{self.name} answered {vector.size} numbers after {self.dimension} before", reason=REASON
            )
        return vector

    async def _post(self, path: str, body: object) -> object:
        try:
            async with (
                self._slots,
                self._open_session().post(f"{self.name}{path}", json=body, ssl=self._trust) as response,
            ):
                data = await response.content.read(LARGEST_ANSWER_BYTES + 1)
                while len(data) <= LARGEST_ANSWER_BYTES and not response.content.at_eof():
                    data += await response.content.read(LARGEST_ANSWER_BYTES + 1 - len(data))
        except TimeoutError as error:
            raise UnavailableError(
                f"the embedding service {self.name} did not answer in {self._answer_seconds:g} s",
                reason=REASON,
            ) from error
        except (OSError, _client_error()) as error:
            why = explain_https(error, self.name) or error
            raise UnavailableError(
                f"the embedding service {self.name} cannot be reached: {why}", reason=REASON
            ) from error
        if len(data) > LARGEST_ANSWER_BYTES:
            raise UnavailableError(f"{self.name} answered more than 8 MiB", reason=REASON)
        try:
            return json.loads(data)
        except ValueError:
            return None

    def _open_session(self) -> Any:
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._answer_seconds, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        return self._session


def _vector_of(answer: object) -> object:
    if not isinstance(answer, dict):
        return None
    if "embedding" in answer:
        return answer["embedding"]
    chunks = answer.get("chunks")
    if isinstance(chunks, list) and chunks and isinstance(chunks[0], dict):
        return chunks[0].get("embedding")
    return None


def _client_error() -> type[Exception]:
    import aiohttp

    return aiohttp.ClientError


def open_service(url: str, *, token: str | None = None, trust: HttpsTrust = SYSTEM_TRUST) -> ServiceEmbedder:
    """Raises ConfigurationError unless `url` is http(s)://HOST[:PORT]."""
    return ServiceEmbedder(url, token=token, trust=trust)


_: type[Embedder] = ServiceEmbedder
