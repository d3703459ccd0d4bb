"""Labels: what a draw is called, before, during and after a radio is healthy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from entropyd.conditioning.accounting import Ledger
from entropyd.conditioning.pools import Block, FullPool
from entropyd.dispensing.dispenser import Dispenser
from entropyd.dispensing.draw import Policy, PoolKind
from entropyd.dispensing.generator import Generator
from entropyd.health import HealthRecord, HealthState
from entropyd.source import SourceKind
from services.errors import InvalidArgumentError, UnavailableError
from tests.entropyd.receivers import RADIO

FULL, DRBG = PoolKind.FULL, PoolKind.DRBG
FALLBACK, REFUSE = Policy.FALLBACK, Policy.REFUSE


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_dispenser(clock: Clock | None = None) -> Dispenser:
    return Dispenser(
        pool=FullPool(Ledger()), generator=Generator(), health=HealthRecord(), monotonic=clock or Clock()
    )


def make_healthy(dispenser: Dispenser, blocks: int = 4, origin=RADIO) -> None:
    for number in range(blocks):
        dispenser.origin = origin
        dispenser.accept(Block(bytes([number + 1]) * 32, 320, origin))
    dispenser.health.set(HealthState.HEALTHY)


@pytest.mark.parametrize("byte_count", [0, -1, 1_048_577])
def test_sizes_out_of_range_are_refused_with_the_limit(byte_count: int) -> None:
    with pytest.raises(InvalidArgumentError, match="from 1 to 1048576") as caught:
        make_dispenser().draw(byte_count, DRBG, FALLBACK)
    assert (caught.value.reason, caught.value.field) == ("INVALID_BYTE_COUNT", "byte_count")


def test_without_a_radio_10000_draws_are_all_called_os() -> None:
    dispenser = make_dispenser()
    dispenser.health.set(HealthState.ABSENT, failing_test="no-device")
    draws = [dispenser.draw(8, (FULL, DRBG)[i % 2], FALLBACK) for i in range(5000)]
    draws += [dispenser.draw_available(8, FALLBACK) for _ in range(5000)]
    assert {draw.source for draw in draws} == {SourceKind.OS}
    assert {draw.claimed_min_entropy_bits for draw in draws} == {0.0}
    assert {len(draw.data) for draw in draws} == {8}
    assert len({draw.data for draw in draws}) == 10_000
    assert dispenser.fallback_draws == 10_000


@pytest.mark.parametrize("pool", [FULL, DRBG])
def test_refuse_without_a_radio_names_the_failing_test(pool: PoolKind) -> None:
    dispenser = make_dispenser()
    dispenser.health.set(HealthState.FAILED, failing_test="carrier", explanation="a carrier at 40 dB")
    for attempt in (lambda: dispenser.draw(8, pool, REFUSE), lambda: dispenser.draw_available(8, REFUSE)):
        with pytest.raises(UnavailableError, match="carrier") as caught:
            attempt()
        assert caught.value.reason == "SOURCE_UNHEALTHY"
        assert caught.value.metadata["test"] == "carrier"


def test_a_healthy_radio_serves_the_full_pool_and_claims_every_bit() -> None:
    dispenser = make_dispenser()
    make_healthy(dispenser)  # 128 bytes, of which 48 seed the generator
    draw = dispenser.draw(16, FULL, REFUSE)
    assert (draw.source, draw.pool, draw.claimed_min_entropy_bits) == (SourceKind.RADIO, FULL, 128.0)
    assert draw.data == bytes([2]) * 16
    assert draw.source_detail == RADIO.detail


def test_a_short_pool_is_an_error_under_refuse_and_os_under_fallback() -> None:
    dispenser = make_dispenser()
    make_healthy(dispenser)
    with pytest.raises(UnavailableError) as caught:
        dispenser.draw(1000, FULL, REFUSE)
    assert (caught.value.reason, caught.value.metadata["available_bytes"]) == ("POOL_SHORT", "80")
    draw = dispenser.draw(1000, FULL, FALLBACK)
    assert (draw.source, draw.claimed_min_entropy_bits, len(draw.data)) == (SourceKind.OS, 0.0, 1000)


def test_the_compatible_rule_is_short_rather_than_padded() -> None:
    dispenser = make_dispenser()
    make_healthy(dispenser)
    first, second = (dispenser.draw_available(4096, FALLBACK) for _ in range(2))
    assert (len(first.data), first.source) == (80, SourceKind.RADIO)
    assert (len(second.data), second.source, second.claimed_min_entropy_bits) == (0, SourceKind.RADIO, 0.0)
    assert dispenser.draw_available(0, FALLBACK).data == b""


def test_the_generator_is_radio_once_384_credited_bits_seeded_it() -> None:
    dispenser = make_dispenser()
    make_healthy(dispenser, blocks=1)
    assert dispenser.draw(32, DRBG, FALLBACK).source is SourceKind.OS
    with pytest.raises(UnavailableError, match="no radio seed yet"):
        dispenser.draw(32, DRBG, REFUSE)
    make_healthy(dispenser, blocks=1)
    draw = dispenser.draw(64, DRBG, REFUSE)
    assert (draw.source, draw.pool, draw.generation) == (SourceKind.RADIO, DRBG, 1)
    assert draw.claimed_min_entropy_bits == 256.0  # never more than the generator's strength


def test_an_alarm_takes_bytes_seed_and_label_away_at_once() -> None:
    dispenser = make_dispenser()
    make_healthy(dispenser)
    dispenser.health.set(HealthState.FAILED, failing_test="replay")
    assert dispenser.withdraw() == 80
    for draw in (dispenser.draw(8, FULL, FALLBACK), dispenser.draw(8, DRBG, FALLBACK)):
        assert draw.source is SourceKind.OS
    make_healthy(dispenser, blocks=1)  # back, but not yet seeded again
    assert dispenser.draw(8, DRBG, FALLBACK).source is SourceKind.OS
    assert dispenser.draw(32, FULL, REFUSE).data == bytes([1]) * 32


def test_reseeds_come_after_a_minute_or_a_mebibyte() -> None:
    clock = Clock()
    dispenser = make_dispenser(clock)
    make_healthy(dispenser, blocks=4)
    assert dispenser.generator.generation == 1
    make_healthy(dispenser, blocks=1)
    assert dispenser.generator.generation == 1
    clock.now = 61.0
    make_healthy(dispenser, blocks=1)
    assert dispenser.generator.generation == 2
    dispenser.draw(1_048_576, DRBG, REFUSE)
    make_healthy(dispenser, blocks=1)
    assert dispenser.generator.generation == 3


def test_a_file_is_called_a_file_and_claims_nothing() -> None:
    dispenser = make_dispenser()
    make_healthy(dispenser, origin=replace(RADIO, kind=SourceKind.FILE, detail="file:x.iq"))
    draw = dispenser.draw(8, FULL, FALLBACK)
    assert (draw.source, draw.claimed_min_entropy_bits) == (SourceKind.FILE, 0.0)
    with pytest.raises(UnavailableError, match="no-radio"):
        dispenser.draw(8, FULL, REFUSE)


def test_bytes_of_an_unaccountable_server_carry_its_label_and_no_claim() -> None:
    dispenser = make_dispenser()
    origin = replace(RADIO, kind=SourceKind.REMOTE, detail="http://old:9090 (says nothing)", raw=False)
    dispenser.mix(b"x" * 64, origin)
    dispenser.origin = origin
    dispenser.health.set(HealthState.DEGRADED, failing_test="unaccounted")
    for draw in (dispenser.draw(8, DRBG, FALLBACK), dispenser.draw_available(8, FALLBACK)):
        assert (draw.source, draw.claimed_min_entropy_bits, len(draw.data)) == (SourceKind.REMOTE, 0.0, 8)
    with pytest.raises(UnavailableError, match="unaccounted"):
        dispenser.draw(8, DRBG, REFUSE)
