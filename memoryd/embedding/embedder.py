"""The seam to what turns text into vectors, and the choice of one by name or URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.errors import ConfigurationError, UnavailableError
from services.outgoing_https import SYSTEM_TRUST, HttpsTrust

Matrix = NDArray[np.float32]
REASON = "EMBEDDER_UNAVAILABLE"


class Embedder(Protocol):
    """Turns texts into vectors of one length. Safe to call concurrently from one event loop.

    `name` is "static", "minilm", "none" or a URL without credentials. `dimension` is 0 for "none", and for
    a service until its first answer.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """One row of float32 for each text, shape [len(texts), dimension], in order; unit length where known.

        The same text gives the same vector (to rounding) whatever stands beside it in the batch. A text
        without any known word gives zeros. Never blocks the event loop for long.
        Raises UnavailableError (EMBEDDER_UNAVAILABLE) when no vector can be had.
        """

    async def reachable(self) -> bool:
        """Whether `embed` can be expected to answer now. Never raises; bounded in time."""

    async def invert(self, vector: Sequence[float]) -> str | None:
        """The text that a vector stands for, or None when that cannot be done."""

    async def close(self) -> None:
        """Ends connections and threads. Safe to call twice."""


class NoEmbedder:
    """Search by words only; every attempt to embed says so."""

    name = "none"
    dimension = 0

    async def embed(self, texts: Sequence[str]) -> Matrix:
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        raise UnavailableError(
            "embed() requires SHIVVR_URL but no embedding service is configured", reason=REASON
        )

    async def reachable(self) -> bool:
        return False

    async def invert(self, vector: Sequence[float]) -> str | None:
        return None

    async def close(self) -> None:
        return None


async def open_embedder(name: str, *, token: str | None = None, trust: HttpsTrust = SYSTEM_TRUST) -> Embedder:
    """Opens the embedder that `name` asks for: "static", "minilm", "none" or a shivvr-compatible http(s) URL.

    `token` is sent to a URL as a bearer token, `trust` says whose certificate it may have. A URL is not
    contacted here. Raises ConfigurationError for an unknown name or an extra that is not installed.
    """
    match name.partition(":")[0].lower():
        case "none":
            return NoEmbedder()
        case "static":
            from memoryd.embedding.static import open_static

            return await open_static()
        case "minilm":
            from memoryd.embedding.minilm import open_minilm

            return await open_minilm()
        case "http" | "https":
            from memoryd.embedding.service import open_service

            return open_service(name, token=token, trust=trust)
    raise ConfigurationError(
        f"--embedder: {name!r} is not known; use static, minilm, none or the http:// URL of a service"
    )


_: type[Embedder] = NoEmbedder
