"""A bound on what one answer may hold: a server that never ends must not fill the memory of the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from services.errors import UnavailableError

ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
"""Of one answer on the wire, more than twice what the longest turn takes in the wordiest format."""


def too_long(provider: str) -> UnavailableError:
    return UnavailableError(
        f"{provider}: the answer is longer than {ANSWER_LIMIT_BYTES // 1024**2} MiB; check --base-url",
        reason="PROVIDER_UNAVAILABLE",
    )


def bounded_responses(provider: str) -> dict[str, list[Callable[[Any], Any]]]:
    """Event hooks for the HTTP client of an SDK (httpx, or its successor of the same API).

    Reading a response raises UnavailableError (PROVIDER_UNAVAILABLE) beyond the limit, after decompression.
    """

    async def bound(response: Any) -> None:
        pieces = response.aiter_bytes

        async def aiter_bytes(chunk_size: int | None = None) -> AsyncIterator[bytes]:
            read = 0
            async for piece in pieces(chunk_size):
                read += len(piece)
                if read > ANSWER_LIMIT_BYTES:
                    raise too_long(provider)
                yield piece

        response.aiter_bytes = aiter_bytes

    return {"response": [bound]}
