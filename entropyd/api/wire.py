"""Between entropyd's values and the messages of entropy.proto."""

from __future__ import annotations

from datetime import datetime

from autoresearch.entropy.v1 import entropy_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from entropyd.dispensing.draw import Draw, Policy, PoolKind
from entropyd.health import HealthState, SourceHealth
from entropyd.records.receipts import Receipt
from entropyd.records.seed_chain import RevealedSeed
from entropyd.records.seed_packs import load_draw
from entropyd.records.state_store import StoredPack
from entropyd.source import SourceKind
from services.errors import InvalidArgumentError

_POOLS = {pb.POOL_UNSPECIFIED: PoolKind.DRBG, pb.POOL_FULL: PoolKind.FULL, pb.POOL_DRBG: PoolKind.DRBG}
_POLICIES = {
    pb.DRAW_POLICY_UNSPECIFIED: Policy.FALLBACK,
    pb.DRAW_POLICY_FALLBACK: Policy.FALLBACK,
    pb.DRAW_POLICY_REFUSE: Policy.REFUSE,
}
_SOURCES = {
    SourceKind.RADIO: pb.SOURCE_RADIO,
    SourceKind.OS: pb.SOURCE_OS,
    SourceKind.FILE: pb.SOURCE_FILE,
    SourceKind.REMOTE: pb.SOURCE_REMOTE,
}
_STATES = {
    HealthState.STARTING: pb.HEALTH_STATE_STARTING,
    HealthState.HEALTHY: pb.HEALTH_STATE_HEALTHY,
    HealthState.DEGRADED: pb.HEALTH_STATE_DEGRADED,
    HealthState.FAILED: pb.HEALTH_STATE_FAILED,
    HealthState.ABSENT: pb.HEALTH_STATE_ABSENT,
}


def read_pool(pool: pb.Pool.ValueType) -> PoolKind:
    """Raises InvalidArgumentError (UNSPECIFIED_ENUM) for a number that this version does not know."""
    if pool not in _POOLS:
        raise InvalidArgumentError(
            f"pool {pool} is not known; send POOL_FULL or POOL_DRBG", field="pool", reason="UNSPECIFIED_ENUM"
        )
    return _POOLS[pool]


def read_policy(policy: pb.DrawPolicy.ValueType) -> Policy:
    """Raises InvalidArgumentError (UNSPECIFIED_ENUM) for a number that this version does not know."""
    if policy not in _POLICIES:
        raise InvalidArgumentError(
            f"policy {policy} is not known; send DRAW_POLICY_FALLBACK or DRAW_POLICY_REFUSE",
            field="policy",
            reason="UNSPECIFIED_ENUM",
        )
    return _POLICIES[policy]


def write_time(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def write_health(health: SourceHealth) -> pb.SourceHealth:
    return pb.SourceHealth(
        state=_STATES[health.state],
        failing_test=health.failing_test,
        explanation=health.explanation,
        since_time=write_time(health.since),
    )


def write_provenance(draw: Draw) -> pb.Provenance:
    return pb.Provenance(
        draw_id=draw.draw_id,
        source=_SOURCES[draw.source],
        source_detail=draw.source_detail,
        pool=pb.POOL_FULL if draw.pool is PoolKind.FULL else pb.POOL_DRBG,
        claimed_min_entropy_bits=draw.claimed_min_entropy_bits,
        health=write_health(draw.health),
        generation=draw.generation,
        draw_time=write_time(draw.drawn_at),
    )


def write_receipt(receipt: Receipt) -> pb.Receipt:
    return pb.Receipt(
        draw_id=receipt.draw_id,
        content_hash=receipt.content_hash,
        statement=receipt.statement,
        previous_hash=receipt.previous_hash,
        signature=receipt.signature,
        verify_key=receipt.verify_key,
    )


def read_receipt(receipt: pb.Receipt) -> Receipt:
    return Receipt(
        draw_id=receipt.draw_id,
        content_hash=receipt.content_hash,
        statement=receipt.statement,
        previous_hash=receipt.previous_hash,
        signature=receipt.signature,
        verify_key=receipt.verify_key,
    )


def write_pack(pack: StoredPack) -> pb.SeedPack:
    return pb.SeedPack(
        pack_id=pack.pack_id,
        session_id=pack.session_id,
        seed_count=pack.seed_count,
        commitment=pack.commitment,
        provenance=write_provenance(load_draw(pack.provenance)),
        receipt=write_receipt(pack.receipt),
        create_time=write_time(datetime.fromisoformat(pack.create_time)),
    )


def write_seed(seed: RevealedSeed) -> pb.Seed:
    return pb.Seed(index=seed.index, value=seed.value, material=seed.material, next_link=seed.next_link)


def read_seed(seed: pb.Seed) -> RevealedSeed:
    return RevealedSeed(seed.index, seed.value, seed.material, seed.next_link)
