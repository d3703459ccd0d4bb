"""Typed client of EntropyService. Methods raise the errors that the proto documents."""

from __future__ import annotations

from collections.abc import AsyncIterator

from autoresearch.entropy.v1 import entropy_pb2 as pb
from autoresearch.entropy.v1 import entropy_pb2_grpc as rpc

from services.client import ServiceClient
from services.security import ClientSecurity


class EntropyClient(ServiceClient):
    def __init__(self, target: str, *, security: ClientSecurity | None = None, timeout: float = 5.0) -> None:
        super().__init__(target, security=security, timeout=timeout)
        self._stub = rpc.EntropyServiceStub(self._channel)

    async def draw(
        self,
        byte_count: int,
        *,
        purpose: str,
        pool: pb.Pool.ValueType = pb.POOL_DRBG,
        policy: pb.DrawPolicy.ValueType = pb.DRAW_POLICY_FALLBACK,
        secret: bool = False,
    ) -> pb.DrawEntropyResponse:
        """Draws `byte_count` bytes; the answer says where they came from."""
        request = pb.DrawEntropyRequest(
            byte_count=byte_count, pool=pool, policy=policy, purpose=purpose[:200], secret=secret
        )
        return await self._call(self._stub.DrawEntropy, request)

    async def commit_seed_pack(
        self,
        pack_id: str,
        session_id: str,
        seed_count: int,
        *,
        policy: pb.DrawPolicy.ValueType = pb.DRAW_POLICY_FALLBACK,
    ) -> pb.SeedPack:
        request = pb.CommitSeedPackRequest(
            pack_id=pack_id, session_id=session_id, seed_count=seed_count, policy=policy
        )
        return (await self._call(self._stub.CommitSeedPack, request)).pack

    async def reveal_seeds(
        self, pack_id: str, session_id: str, first_index: int, count: int
    ) -> list[pb.Seed]:
        request = pb.RevealSeedsRequest(
            pack_id=pack_id, session_id=session_id, first_index=first_index, count=count
        )
        return list((await self._call(self._stub.RevealSeeds, request)).seeds)

    async def verify_receipt(self, request: pb.VerifyReceiptRequest) -> pb.VerifyReceiptResponse:
        return await self._call(self._stub.VerifyReceipt, request)

    def watch_health(self, *, timeout: float = 3600.0) -> AsyncIterator[pb.WatchHealthResponse]:
        return self._stream(self._stub.WatchHealth, pb.WatchHealthRequest(), timeout=timeout)

    async def status(
        self, *, wait_for_ready: bool = False, timeout: float | None = None
    ) -> pb.GetStatusResponse:
        request = pb.GetStatusRequest()
        return await self._call(self._stub.GetStatus, request, wait_for_ready=wait_for_ready, timeout=timeout)
