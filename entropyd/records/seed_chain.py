"""The formula of seed packs (docs/seeds.md): seeds fixed by a commitment before any of them is shown.

    material_i = HMAC-SHA-256(master, "autoresearch/seed-pack/v1/material" ‖ u32(i))
    link_n     = SHA-256("autoresearch/seed-pack/v1/end" ‖ text(pack_id) ‖ text(session_id) ‖ u32(n))
    link_i     = SHA-256("autoresearch/seed-pack/v1/link" ‖ u32(i) ‖ material_i ‖ link_(i+1))
    commitment = link_0
    value_i    = the first 8 bytes of material_i as a big-endian number, top bit cleared

u32 is 4 bytes big-endian; text(s) is u32(length of the UTF-8 bytes) ‖ the bytes. A revealed seed carries
link_(i+1), so seeds 0..i lead from the commitment to seed i while later seeds stay hidden.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

_DOMAIN = b"autoresearch/seed-pack/v1/"
MATERIAL_BYTES = 32


@dataclass(frozen=True)
class RevealedSeed:
    """material and next_link: 32 bytes each; value: 0 .. 2^63 − 1."""

    index: int
    value: int
    material: bytes
    next_link: bytes


def derive_material(master: bytes, index: int) -> bytes:
    return hmac.digest(master, _DOMAIN + b"material" + _u32(index), "sha256")


def link_end(pack_id: str, session_id: str, seed_count: int) -> bytes:
    return hashlib.sha256(_DOMAIN + b"end" + _text(pack_id) + _text(session_id) + _u32(seed_count)).digest()


def link_seed(index: int, material: bytes, next_link: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + b"link" + _u32(index) + material + next_link).digest()


def seed_value(material: bytes) -> int:
    return int.from_bytes(material[:8], "big") & (2**63 - 1)


def build_links(master: bytes, pack_id: str, session_id: str, seed_count: int) -> list[bytes]:
    """link_0 … link_n, seed_count + 1 entries of 32 bytes; the first is the commitment."""
    links = [link_end(pack_id, session_id, seed_count)]
    for index in reversed(range(seed_count)):
        links.append(link_seed(index, derive_material(master, index), links[-1]))
    links.reverse()
    return links


def check_seed(seed: RevealedSeed, link: bytes) -> str:
    """Empty when the seed fits the link before it, else what is wrong."""
    if len(seed.material) != MATERIAL_BYTES or len(seed.next_link) != 32:
        return f"seed {seed.index}: material and next_link must have 32 bytes"
    if seed.value != seed_value(seed.material):
        return f"seed {seed.index}: the value is not the one that its material gives"
    if link_seed(seed.index, seed.material, seed.next_link) != link:
        return f"seed {seed.index} does not belong to the commitment"
    return ""


def check_seeds(commitment: bytes, seeds: Sequence[RevealedSeed]) -> str:
    """Checks seeds 0, 1, 2, … against the commitment; empty when all fit, else the first that does not."""
    link = commitment
    for position, seed in enumerate(seeds):
        if seed.index != position:
            return f"seed {position} is missing: the chain is checked from its start"
        if problem := check_seed(seed, link):
            return problem
        link = seed.next_link
    return ""


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _text(text: str) -> bytes:
    data = text.encode()
    return _u32(len(data)) + data
