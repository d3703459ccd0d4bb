"""EntropyService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from autoresearch.entropy.v1 import entropy_pb2 as pb
from autoresearch.entropy.v1 import entropy_pb2_grpc as rpc
from google.protobuf.duration_pb2 import Duration

from entropyd.api.status import Identity
from entropyd.api.wire import (
    read_policy,
    read_pool,
    read_receipt,
    read_seed,
    write_health,
    write_pack,
    write_provenance,
    write_receipt,
    write_seed,
)
from entropyd.records.office import ReceiptOffice
from entropyd.records.receipts import check_receipt
from entropyd.records.seed_packs import SeedPacks
from services.errors import InvalidArgumentError

SERVICE_NAME = "autoresearch.entropy.v1.EntropyService"
MAX_PURPOSE_LENGTH = 200
Context = grpc.aio.ServicerContext[Any, Any]


class EntropyServicer(rpc.EntropyServiceServicer):
    """Only translates: the use cases raise, the server's interceptor answers."""

    def __init__(self, office: ReceiptOffice, packs: SeedPacks, identity: Identity) -> None:
        self._office = office
        self._packs = packs
        self._identity = identity

    async def DrawEntropy(self, request: pb.DrawEntropyRequest, context: Context) -> pb.DrawEntropyResponse:
        if len(request.purpose) > MAX_PURPOSE_LENGTH:
            raise InvalidArgumentError(
                f"purpose has {len(request.purpose)} characters; at most {MAX_PURPOSE_LENGTH}",
                field="purpose",
            )
        draw, receipt = self._office.draw(
            request.byte_count,
            read_pool(request.pool),
            read_policy(request.policy),
            purpose=request.purpose,
            secret=request.secret,
        )
        return pb.DrawEntropyResponse(
            entropy=draw.data, provenance=write_provenance(draw), receipt=write_receipt(receipt)
        )

    async def CommitSeedPack(
        self, request: pb.CommitSeedPackRequest, context: Context
    ) -> pb.CommitSeedPackResponse:
        policy = read_policy(request.policy)
        pack = self._packs.commit(request.pack_id, request.session_id, request.seed_count, policy)
        return pb.CommitSeedPackResponse(pack=write_pack(pack))

    async def RevealSeeds(self, request: pb.RevealSeedsRequest, context: Context) -> pb.RevealSeedsResponse:
        seeds = self._packs.reveal(request.pack_id, request.session_id, request.first_index, request.count)
        return pb.RevealSeedsResponse(seeds=[write_seed(seed) for seed in seeds])

    async def VerifyReceipt(
        self, request: pb.VerifyReceiptRequest, context: Context
    ) -> pb.VerifyReceiptResponse:
        receipt = read_receipt(request.receipt)
        problem = check_receipt(receipt, entropy=request.entropy if request.HasField("entropy") else None)
        if not problem and receipt.verify_key != self._identity.verify_key:
            problem = "the receipt was signed with a key that is not this daemon's"
        if not problem and request.HasField("seed"):
            problem = self._packs.check(request.pack_id, receipt.content_hash, read_seed(request.seed))
        return pb.VerifyReceiptResponse(valid=not problem, explanation=problem or "ok")

    async def WatchHealth(
        self, request: pb.WatchHealthRequest, context: Context
    ) -> AsyncIterator[pb.WatchHealthResponse]:
        async for sequence, health in self._office.dispenser.health.watch():
            yield pb.WatchHealthResponse(sequence=sequence, health=write_health(health))

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:
        dispenser, identity = self._office.dispenser, self._identity
        uptime = Duration()
        uptime.FromMilliseconds(round(identity.uptime_seconds * 1000))
        return pb.GetStatusResponse(
            source_url=identity.source_url,
            health=write_health(dispenser.health.current),
            full_pool_bytes=dispenser.pool.byte_count,
            credited_bits_total=dispenser.pool.ledger.credited_bits,
            served_bytes_total=sum(dispenser.served_bytes.values()),
            fallback_draws_total=dispenser.fallback_draws,
            min_entropy_bits_per_sample=identity.min_entropy_bits_per_sample,
            assessed=identity.assessed,
            uptime=uptime,
            warnings=identity.warnings,
            verify_key=identity.verify_key,
            version=identity.version,
        )
