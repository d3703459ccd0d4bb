"""Seed packs: fixed before they are shown, shown in order, the same after a restart."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from entropyd.dispensing.draw import Policy
from entropyd.records.receipts import Signer, check_receipt
from entropyd.records.seed_chain import (
    RevealedSeed,
    build_links,
    check_seeds,
    derive_material,
    link_seed,
    seed_value,
)
from entropyd.records.seed_packs import SeedPacks, load_draw
from entropyd.records.state_store import StateStore
from entropyd.source import SourceKind
from services.errors import (
    AlreadyExistsError,
    ConfigurationError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from tests.entropyd.dispensing.test_dispenser import make_dispenser, make_healthy

FALLBACK = Policy.FALLBACK


@pytest.fixture
def store(tmp_path: Path):
    with StateStore(tmp_path) as opened:
        yield opened


@pytest.fixture
def packs(store: StateStore) -> SeedPacks:
    return SeedPacks(make_dispenser(), store, Signer(store.private_key))


def test_the_formula_has_known_values() -> None:
    """The vectors of docs/seeds.md."""
    master = bytes(range(32))
    links = build_links(master, "pack", "session", 3)
    assert [derive_material(master, i).hex()[:16] for i in range(3)] == VECTOR_MATERIAL
    assert links[0].hex() == VECTOR_COMMITMENT
    assert [seed_value(derive_material(master, i)) for i in range(3)] == VECTOR_VALUES


VECTOR_MATERIAL = ["6f037135b5917f1a", "e6e32e4d7314c2df", "430a325a1bbd38cb"]
VECTOR_COMMITMENT = "5c422eaa1cecea263dbcce864605833bac93e19f7d1f1cefeb9c96086ed2f9ff"
VECTOR_VALUES = [7999361838633549594, 7413820321760068319, 4830728912902109387]


def test_values_are_big_endian_and_fit_a_signed_64_bit_number() -> None:
    assert seed_value(bytes.fromhex("ff00000000000001") + bytes(24)) == 0x7F00000000000001
    assert seed_value(bytes.fromhex("0102030405060708") + bytes(24)) == 0x0102030405060708


def test_the_commitment_is_signed_before_anything_is_shown(packs: SeedPacks) -> None:
    pack = packs.commit("p1", "night", 16, FALLBACK)
    assert pack.revealed == 0
    assert pack.receipt.content_hash == pack.commitment
    assert check_receipt(pack.receipt) == ""
    fields = json.loads(pack.receipt.statement)
    assert (fields["pack_id"], fields["session_id"], fields["seed_count"]) == ("p1", "night", 16)
    assert pack.master.hex() not in pack.receipt.statement
    seeds = packs.reveal("p1", "night", 0, 16)
    assert check_seeds(pack.commitment, seeds) == ""
    assert len({seed.value for seed in seeds}) == 16


def test_a_retry_returns_the_same_pack_and_the_same_receipt(packs: SeedPacks) -> None:
    assert packs.commit("p1", "night", 16, FALLBACK) == packs.commit("p1", "night", 16, FALLBACK)
    with pytest.raises(AlreadyExistsError) as caught:
        packs.commit("p1", "other", 16, FALLBACK)
    assert caught.value.reason == "PACK_SESSION_MISMATCH"
    with pytest.raises(AlreadyExistsError, match="16 seeds"):
        packs.commit("p1", "night", 17, FALLBACK)


def test_seeds_are_shown_in_order_and_may_be_read_again(packs: SeedPacks) -> None:
    packs.commit("p1", "night", 8, FALLBACK)
    with pytest.raises(FailedPreconditionError, match="next is first_index = 0") as caught:
        packs.reveal("p1", "night", 1, 1)
    assert caught.value.reason == "SEED_OUT_OF_ORDER"
    first = packs.reveal("p1", "night", 0, 3)
    assert packs.reveal("p1", "night", 1, 1) == first[1:2]
    assert [seed.index for seed in packs.reveal("p1", "night", 3, 1000)] == [3, 4, 5, 6, 7]


def test_wrong_pack_session_and_numbers_have_their_reasons(packs: SeedPacks) -> None:
    packs.commit("p1", "night", 8, FALLBACK)
    with pytest.raises(NotFoundError) as missing:
        packs.reveal("p2", "night", 0, 1)
    assert missing.value.reason == "PACK_NOT_FOUND"
    with pytest.raises(PermissionDeniedError) as foreign:
        packs.reveal("p1", "day", 0, 1)
    assert foreign.value.reason == "PACK_SESSION_MISMATCH"
    for first, count in ((0, 0), (0, 1025), (-1, 1), (8, 1)):
        with pytest.raises(InvalidArgumentError) as wrong:
            packs.reveal("p1", "night", first, count)
        assert wrong.value.reason == "INVALID_SEED_COUNT"
    for count in (0, -5, 65_537):
        with pytest.raises(InvalidArgumentError, match="from 1 to 65536"):
            packs.commit("p9", "night", count, FALLBACK)
    for pack_id, session_id in (("", "s"), ("p", ""), ("p" * 201, "s")):
        with pytest.raises(InvalidArgumentError):
            packs.commit(pack_id, session_id, 1, FALLBACK)


def test_a_restart_reveals_the_same_seeds_and_goes_on_with_the_chain(tmp_path: Path) -> None:
    with StateStore(tmp_path) as store:
        packs = SeedPacks(make_dispenser(), store, Signer(store.private_key))
        pack = packs.commit("p1", "night", 8, FALLBACK)
        before = packs.reveal("p1", "night", 0, 4)
        last = store.last_receipt_hash
    with StateStore(tmp_path) as store:
        packs = SeedPacks(make_dispenser(), store, Signer(store.private_key))
        assert store.last_receipt_hash == last
        assert packs.commit("p1", "night", 8, FALLBACK) == replace(pack, revealed=4)
        assert packs.reveal("p1", "night", 0, 4) == before
        with pytest.raises(FailedPreconditionError):
            packs.reveal("p1", "night", 5, 1)
        assert check_seeds(pack.commitment, before + packs.reveal("p1", "night", 4, 4)) == ""
        assert packs.commit("p2", "night", 1, FALLBACK).receipt.previous_hash == last


def test_a_radio_pack_says_so_and_refuse_refuses(tmp_path: Path) -> None:
    with StateStore(tmp_path) as store:
        dispenser = make_dispenser()
        packs = SeedPacks(dispenser, store, Signer(store.private_key))
        with pytest.raises(UnavailableError):
            packs.commit("p1", "night", 8, Policy.REFUSE)
        make_healthy(dispenser)
        draw = load_draw(packs.commit("p1", "night", 8, Policy.REFUSE).provenance)
        assert (draw.source, draw.claimed_min_entropy_bits) == (SourceKind.RADIO, 256.0)


def test_forged_seeds_are_found(packs: SeedPacks) -> None:
    pack = packs.commit("p1", "night", 4, FALLBACK)
    seeds = packs.reveal("p1", "night", 0, 4)
    other = RevealedSeed(1, seed_value(b"x" * 32), b"x" * 32, seeds[1].next_link)
    assert "does not belong" in check_seeds(pack.commitment, [seeds[0], other])
    assert "not the one that its material gives" in check_seeds(pack.commitment, [replace(seeds[0], value=7)])
    assert "missing" in check_seeds(pack.commitment, seeds[1:])
    # A chain that the cheat continues by himself fits seed 1 but not the link that seed 0 carries.
    own_link = link_seed(1, b"x" * 32, seeds[1].next_link)
    assert "does not belong" in check_seeds(pack.commitment, [replace(seeds[0], next_link=own_link), other])
    assert packs.check("p1", pack.commitment, seeds[2]) == ""
    assert packs.check("p1", pack.commitment, other) != ""
    assert packs.check("p1", bytes(32), seeds[2]) != ""
    assert packs.check("p7", pack.commitment, seeds[2]) != ""
    assert packs.check("p1", pack.commitment, replace(seeds[2], index=9)) != ""


def test_the_largest_pack_is_made_and_checked(packs: SeedPacks) -> None:
    started = time.process_time()
    pack = packs.commit("big", "night", 65_536, FALLBACK)
    seeds = [seed for first in range(0, 65_536, 1024) for seed in packs.reveal("big", "night", first, 1024)]
    assert check_seeds(pack.commitment, seeds) == ""
    print(f"65,536 seeds: {time.process_time() - started:.2f} s of CPU")


def test_a_damaged_or_newer_state_folder_is_refused(tmp_path: Path) -> None:
    with StateStore(tmp_path / "a"):
        pass
    (tmp_path / "a" / "signing.key").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="a key has 32 bytes"):
        StateStore(tmp_path / "a")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="--state"):
        StateStore(tmp_path / "file")
    with StateStore(tmp_path / "b") as store:
        store._database.execute("PRAGMA user_version=99")
    with pytest.raises(ConfigurationError, match="newer version"):
        StateStore(tmp_path / "b")
    with StateStore(tmp_path / "c"), pytest.raises(ConfigurationError, match="another entropyd uses it"):
        StateStore(tmp_path / "c")
    mode = (tmp_path / "b" / "signing.key").stat().st_mode
    assert mode & 0o077 == 0


def test_old_receipts_are_dropped_but_those_of_packs_stay(tmp_path: Path) -> None:
    from entropyd.dispensing.draw import PoolKind
    from entropyd.records.office import ReceiptOffice

    with StateStore(tmp_path, keep_receipts=100) as store:
        signer, dispenser = Signer(store.private_key), make_dispenser()
        pack = SeedPacks(dispenser, store, signer).commit("p1", "night", 2, FALLBACK)
        office = ReceiptOffice(dispenser, store, signer)
        for _ in range(1200):
            office.draw(8, PoolKind.DRBG, FALLBACK, purpose="", secret=False)
        assert len(store.receipts(5000)) < 400
        found = store.find_pack("p1")
        assert found is not None
        assert found.receipt == pack.receipt
