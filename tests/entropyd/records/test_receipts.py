"""Receipts: signed, chained, tamper-evident, quick to check, enough to derive a public seed again."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from entropyd.dispensing.draw import Draw, PoolKind
from entropyd.health import HealthState, SourceHealth
from entropyd.records.receipts import NO_RECEIPT, Receipt, Signer, check_chain, check_receipt
from entropyd.source import SourceKind

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNER = Signer(bytes(range(32)))


def draw_of(data: bytes, number: int = 0) -> Draw:
    return Draw(
        draw_id=f"draw-{number}",
        data=data,
        source=SourceKind.RADIO,
        source_detail="rtlsdr:0 @ 1420.4 MHz",
        pool=PoolKind.FULL,
        claimed_min_entropy_bits=8.0 * len(data),
        health=SourceHealth(HealthState.HEALTHY, "", "", NOW),
        generation=3,
        drawn_at=NOW,
    )


def chain(length: int) -> list[Receipt]:
    receipts: list[Receipt] = []
    previous = NO_RECEIPT
    for number in range(length):
        receipts.append(SIGNER.sign(draw_of(number.to_bytes(8, "big"), number), previous_hash=previous))
        previous = receipts[-1].receipt_hash
    return receipts


def test_a_receipt_names_source_health_and_claim() -> None:
    receipt = SIGNER.sign(draw_of(b"12345678"), previous_hash=NO_RECEIPT, purpose="dream")
    fields = json.loads(receipt.statement)
    assert fields["source"] == "radio"
    assert fields["health"] == "healthy"
    assert fields["claimed_min_entropy_bits"] == 64.0
    assert fields["generation"] == 3
    assert fields["purpose"] == "dream"
    assert receipt.content_hash == hashlib.sha256(b"12345678").digest()


def test_a_public_seed_can_be_derived_again_from_the_log_and_a_secret_one_cannot() -> None:
    data = bytes.fromhex("8000000000000001")
    public = SIGNER.sign(draw_of(data), previous_hash=NO_RECEIPT)
    logged = bytes.fromhex(json.loads(public.statement)["entropy_hex"])
    # train.py reads eight bytes big-endian, ferricula-alpha little-endian.
    assert int.from_bytes(logged, "big") == int(data.hex(), 16) == 9_223_372_036_854_775_809
    assert int.from_bytes(logged, "little") == 72_057_594_037_928_064
    secret = SIGNER.sign(draw_of(data), previous_hash=NO_RECEIPT, secret=True)
    assert data.hex() not in secret.statement
    assert not check_receipt(secret, entropy=data)


def test_10000_receipts_verify_in_three_seconds_of_one_core() -> None:
    receipts = chain(10_000)
    started = time.process_time()
    assert check_chain(receipts) == ""
    print(f"10,000 receipts: {time.process_time() - started:.2f} s of CPU")


@pytest.mark.parametrize(
    "forge",
    [
        lambda r: replace(r, statement=r.statement.replace('"radio"', '"os"')),
        lambda r: replace(r, signature=bytes(64)),
        lambda r: replace(r, signature=b""),
        lambda r: replace(r, verify_key=Signer(bytes(32)).verify_key),
        lambda r: replace(r, verify_key=b"short"),
        lambda r: replace(r, content_hash=bytes(32)),
        lambda r: replace(r, draw_id="another"),
        lambda r: replace(r, previous_hash=bytes(31) + b"\x01"),
    ],
)
def test_any_change_is_found(forge) -> None:
    receipt = chain(1)[0]
    assert check_receipt(receipt) == ""
    assert check_receipt(forge(receipt)) != ""


def test_other_bytes_are_not_those_of_the_receipt() -> None:
    receipt = chain(1)[0]
    assert check_receipt(receipt, entropy=bytes(8)) == ""
    assert check_receipt(receipt, entropy=b"otherwise") == "the bytes are not those of the receipt"


def test_a_statement_that_is_no_receipt_is_refused_though_signed() -> None:
    receipt = chain(1)[0]
    for text in ("{}", "[]", "7", "no json"):
        signature = SIGNER._key.sign(text.encode())
        assert "not a receipt" in check_receipt(replace(receipt, statement=text, signature=signature))


def test_a_receipt_left_out_breaks_the_chain() -> None:
    receipts = chain(5)
    assert check_chain(receipts[:2] + receipts[3:]) == "receipt 2 does not follow receipt 1"
