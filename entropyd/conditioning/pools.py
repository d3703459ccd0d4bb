"""The `full` pool: finished blocks whose every bit is backed by credited entropy. Finite, served once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from entropyd.conditioning.accounting import Ledger
from entropyd.source import SourceDescription


@dataclass(frozen=True)
class Block:
    """`data` with the entropy credited for it before conditioning, and its origin."""

    data: bytes
    credited_bits: float
    origin: SourceDescription


class FullPool:
    """Oldest bytes leave first; when it is full the oldest block is dropped. One origin at a time:
    blocks of another origin replace what is there. Keeps the ledger true."""

    def __init__(self, ledger: Ledger, capacity_bytes: int = 1_048_576) -> None:
        self.ledger = ledger
        self._capacity = capacity_bytes
        self._parts: deque[bytes] = deque()
        self._size = 0
        self.origin: SourceDescription | None = None

    @property
    def byte_count(self) -> int:
        return self._size

    def add(self, block: Block) -> None:
        if self.origin is not None and self.origin != block.origin:
            self.clear()
        self.origin = block.origin
        self.ledger.close_block(block.credited_bits)
        self._parts.append(block.data)
        self._size += len(block.data)
        while self._size > self._capacity:
            self.ledger.take(8 * len(self._parts[0]))
            self._size -= len(self._parts.popleft())

    def take(self, byte_count: int) -> bytes:
        """Removes and returns min(byte_count, available) bytes."""
        wanted = min(byte_count, self._size)
        self.ledger.take(8 * wanted)
        self._size -= wanted
        taken = bytearray()
        while wanted:
            part = self._parts.popleft()
            if len(part) > wanted:
                self._parts.appendleft(part[wanted:])
                part = part[:wanted]
            taken += part
            wanted -= len(part)
        return bytes(taken)

    def clear(self) -> int:
        """Throws everything away and returns how many bytes that were."""
        self.origin = None
        return len(self.take(self._size))
