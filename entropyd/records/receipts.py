"""Signed receipts: what was drawn, from what, in which state of health; each names the one before it.

The statement is JSON with sorted keys and no spaces; the signature is Ed25519 over its UTF-8 bytes; the
hash of a receipt is SHA-256(statement ‖ signature).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from entropyd.dispensing.draw import Draw

PUBLIC_BYTES_LIMIT = 1024  # longer draws are named by their hash alone
NO_RECEIPT = bytes(32)


@dataclass(frozen=True)
class Receipt:
    """content_hash: SHA-256 of the bytes, or the commitment of a seed pack; hashes and keys are 32 bytes,
    the signature 64."""

    draw_id: str
    content_hash: bytes
    statement: str
    previous_hash: bytes
    signature: bytes
    verify_key: bytes

    @property
    def receipt_hash(self) -> bytes:
        return hashlib.sha256(self.statement.encode() + self.signature).digest()


class Signer:
    """Signs with one Ed25519 key; `private_key` is its 32 raw bytes."""

    def __init__(self, private_key: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self.verify_key = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )

    def sign(
        self,
        draw: Draw,
        *,
        previous_hash: bytes,
        purpose: str = "",
        secret: bool = False,
        content_hash: bytes | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> Receipt:
        """A receipt for `draw`. A public draw of up to 1,024 bytes is written out in it, so that seeds can
        be derived again from the log; a secret one is not. `content_hash` replaces the hash of the bytes.
        """
        digest = hashlib.sha256(draw.data).digest() if content_hash is None else content_hash
        fields: dict[str, object] = {
            "version": 1,
            "draw_id": draw.draw_id,
            "content_hash": digest.hex(),
            "byte_count": len(draw.data),
            "source": draw.source.value,
            "source_detail": draw.source_detail,
            "pool": draw.pool.value,
            "claimed_min_entropy_bits": draw.claimed_min_entropy_bits,
            "health": draw.health.state.value,
            "failing_test": draw.health.failing_test,
            "generation": draw.generation,
            "draw_time": draw.drawn_at.isoformat(),
            "purpose": purpose,
            "previous_hash": previous_hash.hex(),
            **(extra or {}),
        }
        if not secret and len(draw.data) <= PUBLIC_BYTES_LIMIT:
            fields["entropy_hex"] = draw.data.hex()
        statement = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return Receipt(
            draw_id=draw.draw_id,
            content_hash=digest,
            statement=statement,
            previous_hash=previous_hash,
            signature=self._key.sign(statement.encode()),
            verify_key=self.verify_key,
        )


def check_receipt(receipt: Receipt, *, entropy: bytes | None = None) -> str:
    """Empty when signature and fields agree (and `entropy` is what was drawn), else the first fault.

    Needs nothing but the receipt; whether `verify_key` is to be trusted is the caller's to know.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(receipt.verify_key)
        key.verify(receipt.signature, receipt.statement.encode())
    except ValueError:
        return "the verify key is not an Ed25519 key of 32 bytes"
    except InvalidSignature:
        return "the signature does not belong to the statement"
    try:
        fields = json.loads(receipt.statement)
        stated = (fields["draw_id"], fields["content_hash"], fields["previous_hash"])
    except (ValueError, KeyError, TypeError):
        return "the statement is not a receipt"
    if stated != (receipt.draw_id, receipt.content_hash.hex(), receipt.previous_hash.hex()):
        return "the fields of the receipt differ from its signed statement"
    if entropy is not None and hashlib.sha256(entropy).digest() != receipt.content_hash:
        return "the bytes are not those of the receipt"
    return ""


def check_chain(receipts: list[Receipt]) -> str:
    """Empty when each receipt is sound and names the one before it, else the first fault."""
    for position, receipt in enumerate(receipts):
        if problem := check_receipt(receipt):
            return f"receipt {position}: {problem}"
        if position and receipt.previous_hash != receipts[position - 1].receipt_hash:
            return f"receipt {position} does not follow receipt {position - 1}"
    return ""
