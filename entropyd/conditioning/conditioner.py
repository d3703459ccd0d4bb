"""From tested raw samples to blocks of 256 full-entropy bits: HMAC-SHA-256, a vetted conditioner of
SP 800-90B section 3.1.5.1.1, fed with at least 320 credited bits a block (the +64 rule of 90C)."""

from __future__ import annotations

import hmac
from fractions import Fraction
from math import ceil

from entropyd.conditioning.accounting import CREDIT_PER_BLOCK_BITS
from entropyd.conditioning.pools import Block
from entropyd.source import SourceDescription


class Conditioner:
    """Gathers raw bytes into an open block and closes it when its credit is reached. `key` is 32 bytes
    and need not be secret. `void` throws the open block away."""

    def __init__(self, key: bytes, origin: SourceDescription) -> None:
        self._key = key
        self._origin = origin
        self._source_id = origin.detail.encode()
        self._raw = bytearray()
        self._credit = Fraction(0)
        self._counter = 0

    @property
    def open_bytes(self) -> int:
        return len(self._raw)

    def void(self) -> None:
        self._raw.clear()
        self._credit = Fraction(0)

    def add(self, data: bytes, bits_per_byte: Fraction) -> list[Block]:
        """Blocks that `data`, credited with `bits_per_byte` above 0, completes."""
        blocks: list[Block] = []
        whole = ceil(CREDIT_PER_BLOCK_BITS / bits_per_byte)
        position = 0
        while position < len(data):
            wanted = ceil((CREDIT_PER_BLOCK_BITS - self._credit) / bits_per_byte) if self._raw else whole
            part = data[position : position + wanted]
            self._raw += part
            self._credit += len(part) * bits_per_byte
            position += wanted
            if len(part) == wanted:
                blocks.append(self._close())
        return blocks

    def _close(self) -> Block:
        header = b"".join(
            (
                len(self._raw).to_bytes(8, "big"),
                len(self._source_id).to_bytes(4, "big"),
                self._source_id,
                self._counter.to_bytes(8, "big"),
            )
        )
        data = hmac.digest(self._key, header + bytes(self._raw), "sha256")
        block = Block(data, float(self._credit), self._origin)
        self._counter += 1
        self.void()
        return block
