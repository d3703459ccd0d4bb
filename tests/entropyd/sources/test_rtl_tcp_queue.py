"""An rtl_tcp that serves one client after the other, and each that has left for a while."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np

from entropyd.health import HealthState
from entropyd.sources.rtl_tcp_source import PATIENCE_SECONDS, RtlTcpSource
from entropyd.sources.tuning import Tuning
from tests.entropyd.rtl_tcp_emulator import binomial_noise
from tests.entropyd.test_station import FAST, running, until, until_radio

LAG = 0.1  # 5 s of the real one
TIMERS = replace(FAST, reopen_most=LAG / 5)  # as the second of the default to those 5 s
HEADER = struct.pack(">4sII", b"RTL0", 5, 29)


@asynccontextmanager
async def queueing_server() -> AsyncIterator[int]:
    """One client at a time, two at most in the queue; one that has left is noticed after LAG."""
    loop = asyncio.get_running_loop()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.setblocking(False)

        async def serve() -> None:
            random = np.random.default_rng(1)
            while True:
                client, _ = await loop.sock_accept(listener)
                with client, contextlib.suppress(OSError):
                    client.setblocking(False)
                    await loop.sock_sendall(client, HEADER)
                    while True:
                        await loop.sock_sendall(client, binomial_noise(random))
                        await asyncio.sleep(0.01)
                await asyncio.sleep(LAG)

        task = asyncio.create_task(serve())
        try:
            yield listener.getsockname()[1]
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_source_that_was_busy_is_radio_once_the_other_client_has_left() -> None:
    assert PATIENCE_SECONDS > 2 * 5.0
    async with queueing_server() as port:
        _, other = await asyncio.open_connection("127.0.0.1", port)

        def source() -> RtlTcpSource:
            patience = LAG * PATIENCE_SECONDS / 5.0
            return RtlTcpSource("127.0.0.1", port, Tuning(), timeout=0.1, patience=patience)

        async with running(source, TIMERS) as (_, dispenser):
            await until(dispenser, HealthState.FAILED)
            assert dispenser.health.current.failing_test == "busy"
            assert dispenser.origin.kind.value == "os"
            other.transport.abort()
            await until_radio(dispenser)
