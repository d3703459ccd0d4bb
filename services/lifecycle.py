"""Start and end of a daemon process: announcing addresses, waiting for a signal, following a parent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TextIO


def announce(service: str, addresses: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Prints one JSON line {"service", "pid", "grpc", "http", …} that a launcher reads from stdout."""
    out = stream or sys.stdout
    out.write(json.dumps({"service": service, "pid": os.getpid(), **addresses}) + "\n")
    out.flush()


async def wait_for_end(*, with_parent: bool = False, poll_seconds: float = 0.5) -> str:
    """Returns "SIGTERM" or "SIGINT" when it arrives, or "parent" when the starting process is gone."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[str] = loop.create_future()

    def end(name: str) -> None:
        if not ended.done():
            ended.set_result(name)

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(signal_number, end, signal_number.name)
        except NotImplementedError:  # Windows: Ctrl-C still raises KeyboardInterrupt
            signal.signal(
                signal_number, lambda number, _: loop.call_soon_threadsafe(end, signal.Signals(number).name)
            )
    watcher = asyncio.create_task(_follow_parent(end, poll_seconds)) if with_parent else None
    try:
        return await ended
    finally:
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher


async def _follow_parent(end: Callable[[str], None], poll_seconds: float) -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - the system tells of it in no other portable way
        await asyncio.sleep(poll_seconds)
    end("parent")
