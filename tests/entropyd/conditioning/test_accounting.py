"""The account: golden numbers of the formula, and an invariant that no order of events breaks."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entropyd.conditioning.accounting import Ledger, OverdrawnError, output_entropy
from entropyd.conditioning.conditioner import Conditioner
from entropyd.conditioning.pools import Block, FullPool
from tests.entropyd.receivers import RADIO


def test_golden_numbers_of_the_conditioner_formula() -> None:
    assert float(output_entropy(5120, 256, 256, 257)) == pytest.approx(255.415, abs=5e-4)
    for bits, epsilon in ((288, -39.5), (320, -71.5)):
        missing = (Decimal(256) - output_entropy(5120, 256, 256, bits)) / 256
        assert math.log2(float(missing)) == pytest.approx(epsilon, abs=0.05)


def test_a_block_of_320_bits_is_full_entropy_and_one_of_319_is_refused() -> None:
    assert output_entropy(25_600, 256, 256, 320) >= Decimal(256) * (1 - Decimal(2) ** -32)
    ledger = Ledger()
    with pytest.raises(OverdrawnError, match="320 needed"):
        ledger.close_block(319.9)
    assert ledger == Ledger()


def test_no_more_is_taken_than_is_there() -> None:
    ledger = Ledger()
    ledger.close_block(320)
    ledger.take(256)
    with pytest.raises(OverdrawnError):
        ledger.take(1)
    assert ledger.out_bits == 256


@pytest.mark.parametrize("bits", ["1/10", "1/20", "1/2", "1/4", "1/3", "8"])
def test_blocks_hold_exactly_the_bytes_that_320_bits_need(bits: str) -> None:
    credit = Fraction(bits)
    conditioner = Conditioner(b"k" * 32, RADIO)
    whole = math.ceil(320 / credit)
    assert not conditioner.add(b"a" * (whole - 1), credit)
    (block,) = conditioner.add(b"a", credit)
    assert 320 <= block.credited_bits < 320 + credit
    assert conditioner.open_bytes == 0


def test_credit_may_change_within_a_block() -> None:
    conditioner = Conditioner(b"k" * 32, RADIO)
    assert not conditioner.add(b"a" * 1600, Fraction(1, 10))
    assert not conditioner.add(b"a" * 3199, Fraction(1, 20))
    (block,) = conditioner.add(b"a", Fraction(1, 20))
    assert block.credited_bits == 320


def test_the_same_samples_give_other_blocks_in_another_place_source_or_split() -> None:
    def blocks(key: bytes, detail: str) -> list[bytes]:
        from dataclasses import replace

        conditioner = Conditioner(key, replace(RADIO, detail=detail))
        return [block.data for block in conditioner.add(b"same" * 1600, Fraction(1, 10))]

    first = blocks(b"k" * 32, "a")
    assert first[0] != first[1]  # the counter
    assert first == blocks(b"k" * 32, "a")
    assert not set(first) & set(blocks(b"k" * 32, "b"))
    assert not set(first) & set(blocks(b"q" * 32, "a"))


def test_void_forgets_bytes_and_credit() -> None:
    conditioner = Conditioner(b"k" * 32, RADIO)
    conditioner.add(b"bad" * 1000, Fraction(1, 10))
    conditioner.void()
    assert not conditioner.add(b"good" * 700, Fraction(1, 10))
    (block,) = conditioner.add(b"good" * 100, Fraction(1, 10))
    assert block.data == Conditioner(b"k" * 32, RADIO).add(b"good" * 800, Fraction(1, 10))[0].data


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("block"), st.floats(320, 330)),
        st.tuples(st.just("take"), st.integers(0, 300)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_output_never_exceeds_the_credit_less_64_bits_a_block(events: list[tuple[str, float]]) -> None:
    """A crash loses the pool; served bytes over all lives stay within the credit of all lives."""
    pool = FullPool(Ledger(), capacity_bytes=256)
    credited, blocks, served = 0.0, 0, 0
    for number, (name, value) in enumerate(events):
        if name == "block":
            data = number.to_bytes(4, "big") * 8
            pool.add(Block(data, value, RADIO))
            credited, blocks = credited + value, blocks + 1
        elif name == "take":
            before = pool.byte_count
            data = pool.take(int(value))
            assert len(data) == min(int(value), before)
            served += 8 * len(data)
        elif name == "clear":
            pool.clear()
        else:
            pool = FullPool(Ledger(), capacity_bytes=256)
        assert pool.byte_count <= 256
        ledger = pool.ledger
        assert ledger.credited_bits - 64 * ledger.blocks >= ledger.out_bits
        assert 8 * pool.byte_count <= ledger.available_bits
        assert credited - 64 * blocks >= served


def test_the_pool_serves_each_byte_once_oldest_first() -> None:
    pool = FullPool(Ledger())
    for number in range(4):
        pool.add(Block(bytes([number]) * 32, 320, RADIO))
    assert pool.take(40) == bytes([0]) * 32 + bytes([1]) * 8
    assert pool.take(1000) == bytes([1]) * 24 + bytes([2]) * 32 + bytes([3]) * 32
    assert pool.take(10) == b""


def test_a_full_pool_drops_its_oldest_block_and_charges_for_it() -> None:
    pool = FullPool(Ledger(), capacity_bytes=64)
    for number in range(3):
        pool.add(Block(bytes([number]) * 32, 320, RADIO))
    assert pool.take(64) == bytes([1]) * 32 + bytes([2]) * 32
    assert pool.ledger.out_bits == 3 * 256


def test_origins_are_never_mixed() -> None:
    from dataclasses import replace

    pool = FullPool(Ledger())
    pool.add(Block(b"a" * 32, 320, RADIO))
    other = replace(RADIO, detail="rtlsdr:other")
    pool.add(Block(b"b" * 32, 320, other))
    assert (pool.take(64), pool.origin) == (b"b" * 32, other)
