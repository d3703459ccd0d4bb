"""Ctrl-C and SIGTERM as an event, so that a command can stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Iterator
from typing import TypeVar

ResultT = TypeVar("ResultT")
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
]


class Interrupted(Exception):
    """A signal asked the command to end."""


@contextlib.contextmanager
def catch_interrupts() -> Iterator[asyncio.Event]:
    """Yields an event that the first signal sets; further ones change nothing, the stop is bounded."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    previous = {}
    for number in _SIGNALS:
        previous[number] = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, asked.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(asked.set))
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def unless_interrupted(work: Awaitable[ResultT], asked: asyncio.Event) -> ResultT:
    """The result of `work`; when the event comes first, `work` is cancelled and Interrupted raised."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Interrupted
        return task.result()
    finally:
        waiting.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
