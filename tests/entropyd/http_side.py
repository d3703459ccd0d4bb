"""The HTTP routes on a real socket over a dispenser of the test's own making."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from entropyd.api.http_api import SdrRandomApi, is_compatible_path
from entropyd.api.status import Identity, StatusCollector
from entropyd.dispensing.dispenser import Dispenser
from entropyd.dispensing.draw import Policy
from entropyd.records.office import ReceiptOffice
from entropyd.records.receipts import Signer
from entropyd.records.state_store import StateStore
from services.addresses import Address
from services.http_server import HttpServer
from services.security import ServerSecurity
from tests.entropyd.dispensing.test_dispenser import make_dispenser

CLOCK = datetime(2026, 7, 8, 9, 10, 11, 999_000, tzinfo=UTC)


@dataclass
class HttpSide:
    dispenser: Dispenser
    store: StateStore
    address: Address


@asynccontextmanager
async def serve_http(
    folder: Path, *, policy: Policy = Policy.FALLBACK, stream_pause: float = 1.0
) -> AsyncIterator[HttpSide]:
    from collections import Counter

    dispenser = make_dispenser()
    with StateStore(folder) as store:
        signer = Signer(store.private_key)
        office = ReceiptOffice(dispenser, store, signer)
        identity = Identity("os:", 0.1, False, ("a warning",), signer.verify_key, "1.2.3")

        async def sleep(seconds: float) -> None:
            assert seconds == 1.0
            await asyncio.sleep(stream_pause)

        api = SdrRandomApi(office, identity, policy=policy, clock=lambda: CLOCK, sleep=sleep)
        registry = CollectorRegistry()
        registry.register(StatusCollector(dispenser, Counter({"carrier": 2})))
        server = HttpServer(
            Address("127.0.0.1", 0),
            api.application(),
            security=ServerSecurity(),
            registry=registry,
            is_open_path=is_compatible_path,
        )
        async with server:
            yield HttpSide(dispenser, store, server.address)


@dataclass
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes
    head: bytes


async def ask(
    address: Address, target: str, *, method: str = "GET", version: str = "1.1", timeout: float = 5.0
) -> RawAnswer:
    """One request over a socket of its own, without any HTTP library in between."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    request = f"{method} {target} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    async with asyncio.timeout(timeout):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    return RawAnswer(int(lines[0].split()[1]), headers, body, head)
