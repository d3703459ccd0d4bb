"""EntropyService over a real channel, through the typed client."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from autoresearch.entropy.v1 import entropy_pb2 as pb
from autoresearch.entropy.v1 import entropy_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from entropyd.api.grpc_api import SERVICE_NAME, EntropyServicer
from entropyd.api.status import Identity
from entropyd.dispensing.dispenser import Dispenser
from entropyd.health import HealthState
from entropyd.records.office import ReceiptOffice
from entropyd.records.receipts import Receipt, Signer, check_receipt
from entropyd.records.seed_chain import RevealedSeed, check_seeds
from entropyd.records.seed_packs import SeedPacks
from entropyd.records.state_store import StateStore
from services.addresses import Address
from services.call_observer import CallObserver
from services.entropy_client import EntropyClient
from services.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ServiceError,
    UnavailableError,
)
from services.rpc_server import GrpcServer
from services.security import ServerSecurity
from tests.entropyd.dispensing.test_dispenser import make_dispenser, make_healthy


@dataclass
class Side:
    client: EntropyClient
    dispenser: Dispenser
    target: str


@pytest.fixture
async def side(tmp_path: Path) -> AsyncIterator[Side]:
    dispenser = make_dispenser()
    with StateStore(tmp_path) as store:
        signer = Signer(store.private_key)
        packs = SeedPacks(dispenser, store, signer)
        identity = Identity("rtlsdr:", 0.1, False, ("careful",), signer.verify_key, "1.2.3")
        observer = CallObserver(CollectorRegistry())
        server = GrpcServer(
            Address("127.0.0.1", 0), security=ServerSecurity(), observer=observer, drain_seconds=1
        )
        servicer = EntropyServicer(ReceiptOffice(dispenser, store, signer), packs, identity)
        server.add(rpc.add_EntropyServiceServicer_to_server, servicer, SERVICE_NAME)
        async with server, EntropyClient(str(server.address)) as client:
            yield Side(client, dispenser, str(server.address))
            dispenser.health.close()


async def test_a_draw_carries_provenance_and_a_receipt_that_verifies(side: Side) -> None:
    make_healthy(side.dispenser)
    answer = await side.client.draw(16, purpose="test", pool=pb.POOL_FULL, policy=pb.DRAW_POLICY_REFUSE)
    assert len(answer.entropy) == 16
    assert answer.provenance.source == pb.SOURCE_RADIO
    assert answer.provenance.pool == pb.POOL_FULL
    assert answer.provenance.claimed_min_entropy_bits == 128
    assert answer.provenance.health.state == pb.HEALTH_STATE_HEALTHY
    assert answer.provenance.draw_id == answer.receipt.draw_id
    assert answer.receipt.content_hash == hashlib.sha256(answer.entropy).digest()
    verdict = await side.client.verify_receipt(
        pb.VerifyReceiptRequest(receipt=answer.receipt, entropy=answer.entropy)
    )
    assert (verdict.valid, verdict.explanation) == (True, "ok")
    receipt = answer.receipt
    offline = Receipt(
        receipt.draw_id,
        receipt.content_hash,
        receipt.statement,
        receipt.previous_hash,
        receipt.signature,
        receipt.verify_key,
    )
    assert check_receipt(offline, entropy=answer.entropy) == ""  # by a third party, without the daemon


async def test_receipts_follow_each_other(side: Side) -> None:
    first = await side.client.draw(8, purpose="a")
    second = await side.client.draw(8, purpose="b", secret=True)
    expected = hashlib.sha256(first.receipt.statement.encode() + first.receipt.signature).digest()
    assert second.receipt.previous_hash == expected
    assert first.entropy.hex() in first.receipt.statement
    assert second.entropy.hex() not in second.receipt.statement


@pytest.mark.parametrize("byte_count", [0, -1, 1_048_577])
async def test_sizes_out_of_range_name_the_limit(side: Side, byte_count: int) -> None:
    with pytest.raises(InvalidArgumentError, match="1048576") as caught:
        await side.client.draw(byte_count, purpose="x")
    assert caught.value.reason == "INVALID_BYTE_COUNT"


async def test_the_largest_draw_fits_one_message(side: Side) -> None:
    assert len((await side.client.draw(1_048_576, purpose="x")).entropy) == 1_048_576


@pytest.mark.parametrize("field", ["pool", "policy"])
async def test_unknown_enum_numbers_are_refused(side: Side, field: str) -> None:
    stub = rpc.EntropyServiceStub(side.client._channel)
    request = pb.DrawEntropyRequest(byte_count=8, **{field: 77})
    with pytest.raises(ServiceError, match=f"{field} 77") as caught:
        await side.client._call(stub.DrawEntropy, request)
    assert caught.value.reason == "UNSPECIFIED_ENUM"


async def test_a_long_purpose_is_refused(side: Side) -> None:
    stub = rpc.EntropyServiceStub(side.client._channel)
    with pytest.raises(InvalidArgumentError, match="at most 200"):
        await side.client._call(stub.DrawEntropy, pb.DrawEntropyRequest(byte_count=8, purpose="x" * 201))


async def test_refuse_is_unavailable_with_the_failing_test(side: Side) -> None:
    side.dispenser.health.set(HealthState.FAILED, failing_test="iq-identity", explanation="I is Q")
    with pytest.raises(UnavailableError, match="iq-identity") as caught:
        await side.client.draw(8, purpose="x", policy=pb.DRAW_POLICY_REFUSE)
    assert caught.value.reason == "SOURCE_UNHEALTHY"
    assert caught.value.metadata["test"] == "iq-identity"
    assert caught.value.retry_after == 5.0
    answer = await side.client.draw(8, purpose="x")
    assert answer.provenance.source == pb.SOURCE_OS
    assert answer.provenance.health.failing_test == "iq-identity"


async def test_seed_packs_over_the_wire(side: Side) -> None:
    pack = await side.client.commit_seed_pack("p", "s", 10)
    assert pack == await side.client.commit_seed_pack("p", "s", 10)
    with pytest.raises(AlreadyExistsError):
        await side.client.commit_seed_pack("p", "other", 10)
    with pytest.raises(FailedPreconditionError):
        await side.client.reveal_seeds("p", "s", 5, 1)
    seeds = await side.client.reveal_seeds("p", "s", 0, 10)
    with pytest.raises(PermissionDeniedError):
        await side.client.reveal_seeds("p", "other", 0, 1)
    with pytest.raises(NotFoundError):
        await side.client.reveal_seeds("q", "s", 0, 1)
    revealed = [RevealedSeed(s.index, s.value, s.material, s.next_link) for s in seeds]
    assert check_seeds(pack.commitment, revealed) == ""
    good = await side.client.verify_receipt(
        pb.VerifyReceiptRequest(receipt=pack.receipt, seed=seeds[7], pack_id="p")
    )
    seeds[7].value += 1
    bad = await side.client.verify_receipt(
        pb.VerifyReceiptRequest(receipt=pack.receipt, seed=seeds[7], pack_id="p")
    )
    assert good.valid
    assert not bad.valid
    assert "seed 7" in bad.explanation


async def test_a_receipt_of_another_daemon_is_not_ours(side: Side) -> None:
    answer = await side.client.draw(8, purpose="x")
    forged = Signer(bytes(32))
    receipt = pb.Receipt()
    receipt.CopyFrom(answer.receipt)
    receipt.verify_key = forged.verify_key
    receipt.signature = forged._key.sign(receipt.statement.encode())
    verdict = await side.client.verify_receipt(pb.VerifyReceiptRequest(receipt=receipt))
    assert not verdict.valid
    assert "not this daemon's" in verdict.explanation
    empty = await side.client.verify_receipt(pb.VerifyReceiptRequest())
    assert not empty.valid


async def test_watching_health_gives_the_present_and_then_each_change(side: Side) -> None:
    watch = side.client.watch_health(timeout=10)
    first = await anext(watch)
    assert first.health.state == pb.HEALTH_STATE_STARTING
    side.dispenser.health.set(HealthState.HEALTHY)
    second = await asyncio.wait_for(anext(watch), 5)
    side.dispenser.health.set(HealthState.HEALTHY)  # no change, no event
    side.dispenser.health.set(HealthState.FAILED, failing_test="sigma", explanation="too quiet")
    third = await asyncio.wait_for(anext(watch), 5)
    assert second.health.state == pb.HEALTH_STATE_HEALTHY
    assert (third.health.state, third.health.failing_test) == (pb.HEALTH_STATE_FAILED, "sigma")
    assert first.sequence < second.sequence < third.sequence
    for state in (HealthState.STARTING, HealthState.HEALTHY, HealthState.DEGRADED) * 20:
        side.dispenser.health.set(state)  # faster than anybody can read
    rest = [await asyncio.wait_for(anext(watch), 5) for _ in range(60)]
    assert [event.sequence for event in rest] == list(range(third.sequence + 1, third.sequence + 61))
    await watch.aclose()


async def test_status_tells_what_is_served_from_where(side: Side) -> None:
    make_healthy(side.dispenser)
    await side.client.draw(16, purpose="x", pool=pb.POOL_FULL)
    status = await side.client.status()
    assert status.source_url == "rtlsdr:"
    assert (status.full_pool_bytes, status.served_bytes_total, status.fallback_draws_total) == (64, 16, 0)
    assert status.credited_bits_total == 4 * 320
    assert (status.assessed, list(status.warnings), status.version) == (False, ["careful"], "1.2.3")
    assert len(status.verify_key) == 32
