"""A small EntropyService on a real socket that fails in every documented way, chosen by the purpose field."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from autoresearch.entropy.v1 import entropy_pb2 as pb
from autoresearch.entropy.v1 import entropy_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from services import errors, logs
from services.addresses import Address
from services.call_observer import CallObserver
from services.rpc_server import GrpcServer
from services.security import ServerSecurity

NAME = "autoresearch.entropy.v1.EntropyService"


class Probe(rpc.EntropyServiceServicer):
    def __init__(self) -> None:
        self.calls = 0
        self.trace_ids: list[str] = []
        self.raises: dict[str, Exception] = {}
        self.live_handlers = 0

    async def DrawEntropy(self, request: pb.DrawEntropyRequest, context: Any) -> pb.DrawEntropyResponse:
        self.calls += 1
        self.trace_ids.append(logs.trace_id.get())
        if request.purpose in self.raises:
            raise self.raises[request.purpose]
        if request.purpose.startswith("sleep "):
            self.live_handlers += 1
            try:
                await asyncio.sleep(float(request.purpose.split()[1]))
            finally:
                self.live_handlers -= 1
        if request.purpose == "unavailable twice" and self.calls < 3:
            raise errors.UnavailableError("not yet")
        return pb.DrawEntropyResponse(entropy=b"x" * request.byte_count)

    async def WatchHealth(
        self, request: pb.WatchHealthRequest, context: Any
    ) -> AsyncIterator[pb.WatchHealthResponse]:
        self.calls += 1
        if "open" in self.raises and self.calls < 3:
            raise self.raises["open"]
        for number in range(1, 4):
            yield pb.WatchHealthResponse(sequence=number)
        if "stream" in self.raises:
            raise self.raises["stream"]

    async def CommitSeedPack(self, request: Any, context: Any) -> Any:
        raise errors.UnsupportedError("no packs here")

    async def RevealSeeds(self, request: Any, context: Any) -> Any:
        raise errors.UnsupportedError("no packs here")

    async def VerifyReceipt(self, request: Any, context: Any) -> Any:
        raise errors.UnsupportedError("no receipts here")

    async def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:
        return pb.GetStatusResponse(source_url="probe:")


@asynccontextmanager
async def serve_probe(
    probe: Probe,
    *,
    security: ServerSecurity | None = None,
    port: int = 0,
    drain_seconds: float = 2.0,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[GrpcServer]:
    server = GrpcServer(
        Address("127.0.0.1", port),
        security=security or ServerSecurity(),
        observer=CallObserver(registry or CollectorRegistry()),
        drain_seconds=drain_seconds,
    )
    server.add(rpc.add_EntropyServiceServicer_to_server, probe, NAME)
    async with server:
        yield server
