"""Draws packs of seeds, commits to them, and reveals them in order. State is in the store: a restarted
daemon reveals the same seeds."""

from __future__ import annotations

import json
from datetime import datetime

from entropyd.dispensing.dispenser import Dispenser
from entropyd.dispensing.draw import Draw, Policy, PoolKind
from entropyd.health import HealthState, SourceHealth
from entropyd.records.receipts import Signer
from entropyd.records.seed_chain import (
    RevealedSeed,
    build_links,
    check_seed,
    derive_material,
    seed_value,
)
from entropyd.records.state_store import StateStore, StoredPack
from entropyd.source import SourceKind
from services.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)

MAX_SEEDS = 65_536
MAX_REVEAL = 1_024
MASTER_BYTES = 32
MAX_NAME_LENGTH = 200


class SeedPacks:
    """The use case behind CommitSeedPack and RevealSeeds; raises what the proto documents."""

    def __init__(self, dispenser: Dispenser, store: StateStore, signer: Signer) -> None:
        self._dispenser = dispenser
        self._store = store
        self._signer = signer
        self._links: tuple[str, list[bytes]] = ("", [])

    def commit(self, pack_id: str, session_id: str, seed_count: int, policy: Policy) -> StoredPack:
        """The pack of this id; drawn now unless it exists."""
        _check_name(pack_id, "pack_id")
        _check_name(session_id, "session_id")
        if not 1 <= seed_count <= MAX_SEEDS:
            raise InvalidArgumentError(
                f"seed_count is {seed_count}; it must be from 1 to {MAX_SEEDS}",
                field="seed_count",
                reason="INVALID_SEED_COUNT",
            )
        known = self._store.find_pack(pack_id)
        if known is None:
            return self._make(pack_id, session_id, seed_count, policy)
        if (known.session_id, known.seed_count) != (session_id, seed_count):
            raise AlreadyExistsError(
                f"pack {pack_id!r} exists for another session or with {known.seed_count} seeds; "
                "use a new pack_id",
                reason="PACK_SESSION_MISMATCH",
            )
        return known

    def reveal(self, pack_id: str, session_id: str, first_index: int, count: int) -> list[RevealedSeed]:
        """Seeds first_index … first_index + count − 1, cut at the end of the pack."""
        pack = self._find(pack_id)
        if pack.session_id != session_id:
            raise PermissionDeniedError(
                f"pack {pack_id!r} belongs to another session", reason="PACK_SESSION_MISMATCH"
            )
        if not 1 <= count <= MAX_REVEAL:
            raise InvalidArgumentError(
                f"count is {count}; it must be from 1 to {MAX_REVEAL}",
                field="count",
                reason="INVALID_SEED_COUNT",
            )
        if not 0 <= first_index < pack.seed_count:
            raise InvalidArgumentError(
                f"first_index is {first_index}; the pack has seeds 0 to {pack.seed_count - 1}",
                field="first_index",
                reason="INVALID_SEED_COUNT",
            )
        if first_index > pack.revealed:
            raise FailedPreconditionError(
                f"seed {pack.revealed} is still hidden: reveal in order, next is first_index = "
                f"{pack.revealed}",
                reason="SEED_OUT_OF_ORDER",
                metadata={"next_index": str(pack.revealed)},
            )
        end = min(first_index + count, pack.seed_count)
        if end > pack.revealed:
            self._store.mark_revealed(pack_id, end)
        links = self._chain(pack)
        return [_seed(pack.master, links, index) for index in range(first_index, end)]

    def check(self, pack_id: str, commitment: bytes, seed: RevealedSeed) -> str:
        """Empty when `seed` is one of the pack that `commitment` stands for, else the first fault."""
        pack = self._store.find_pack(pack_id)
        if pack is None:
            return f"pack {pack_id!r} is not known here"
        if pack.commitment != commitment:
            return f"the receipt is not that of pack {pack_id!r}"
        if not 0 <= seed.index < pack.seed_count:
            return f"seed {seed.index} does not exist: the pack has {pack.seed_count}"
        links = self._chain(pack)
        if seed.next_link != links[seed.index + 1]:
            return f"seed {seed.index} does not belong to the commitment"
        return check_seed(seed, links[seed.index])

    def _make(self, pack_id: str, session_id: str, seed_count: int, policy: Policy) -> StoredPack:
        draw = self._draw_master(policy)
        commitment = build_links(draw.data, pack_id, session_id, seed_count)[0]
        receipt = self._signer.sign(
            draw,
            previous_hash=self._store.last_receipt_hash,
            purpose="seed pack",
            secret=True,
            content_hash=commitment,
            extra={"pack_id": pack_id, "session_id": session_id, "seed_count": seed_count},
        )
        pack = StoredPack(
            pack_id=pack_id,
            session_id=session_id,
            seed_count=seed_count,
            master=draw.data,
            commitment=commitment,
            revealed=0,
            receipt=receipt,
            create_time=draw.drawn_at.isoformat(),
            provenance=_dump_draw(draw),
        )
        self._store.add_pack(pack)
        return pack

    def _draw_master(self, policy: Policy) -> Draw:
        try:
            return self._dispenser.draw(MASTER_BYTES, PoolKind.FULL, Policy.REFUSE)
        except UnavailableError:
            return self._dispenser.draw(MASTER_BYTES, PoolKind.DRBG, policy)

    def _find(self, pack_id: str) -> StoredPack:
        pack = self._store.find_pack(pack_id)
        if pack is None:
            raise NotFoundError(
                f"pack {pack_id!r} is not known here; commit it first", reason="PACK_NOT_FOUND"
            )
        return pack

    def _chain(self, pack: StoredPack) -> list[bytes]:
        if self._links[0] != pack.pack_id:
            links = build_links(pack.master, pack.pack_id, pack.session_id, pack.seed_count)
            self._links = (pack.pack_id, links)
        return self._links[1]


def _seed(master: bytes, links: list[bytes], index: int) -> RevealedSeed:
    material = derive_material(master, index)
    return RevealedSeed(index, seed_value(material), material, links[index + 1])


def _check_name(value: str, field: str) -> None:
    if not 1 <= len(value) <= MAX_NAME_LENGTH:
        raise InvalidArgumentError(
            f"{field} has {len(value)} characters; it must have 1 to {MAX_NAME_LENGTH}", field=field
        )


def _dump_draw(draw: Draw) -> str:
    health = draw.health
    return json.dumps(
        {
            "draw_id": draw.draw_id,
            "source": draw.source.value,
            "source_detail": draw.source_detail,
            "pool": draw.pool.value,
            "claimed_min_entropy_bits": draw.claimed_min_entropy_bits,
            "generation": draw.generation,
            "drawn_at": draw.drawn_at.isoformat(),
            "health": [
                health.state.value,
                health.failing_test,
                health.explanation,
                health.since.isoformat(),
            ],
        }
    )


def load_draw(provenance: str) -> Draw:
    """The draw behind a stored pack, without its bytes."""
    fields = json.loads(provenance)
    state, failing_test, explanation, since = fields["health"]
    return Draw(
        draw_id=fields["draw_id"],
        data=b"",
        source=SourceKind(fields["source"]),
        source_detail=fields["source_detail"],
        pool=PoolKind(fields["pool"]),
        claimed_min_entropy_bits=fields["claimed_min_entropy_bits"],
        health=SourceHealth(HealthState(state), failing_test, explanation, datetime.fromisoformat(since)),
        generation=fields["generation"],
        drawn_at=datetime.fromisoformat(fields["drawn_at"]),
    )
