"""Work that must not stop half done when its caller goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")

_RUNNING: set[asyncio.Task[Any]] = set()  # the event loop itself only holds tasks weakly


async def finish(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Awaits `work`; when the caller is cancelled (a client hung up), the work goes on to its end.

    Without this a batch could be durable and yet missing in memory, because the cancellation came between.
    """
    task = asyncio.ensure_future(work)
    _RUNNING.add(task)
    task.add_done_callback(_settle)
    return await asyncio.shield(task)


def _settle(task: asyncio.Task[Any]) -> None:
    _RUNNING.discard(task)
    if not task.cancelled():
        task.exception()  # takes note of it: the caller may be gone, and nobody else will
