"""Pairs of memories whose vectors nearly agree, found once per memory and kept from dream to dream.

Comparing all pairs of a large store would take minutes for every dream. Vectors do not change, so a memory
is compared with the others once; a dream takes on at most `NEW_PER_DREAM` new ones, the rest follow in the
next dreams.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memoryd.memory import Memory, Row

THRESHOLD = 0.85
NEW_PER_DREAM = 4000
BLOCK = 256


class SimilarPairs:
    """Used by one dream at a time, in its thread. `waiting` counts what later dreams will compare."""

    def __init__(self) -> None:
        self._rows: dict[int, Row] = {}  # the version of each memory that was compared
        self._slots: dict[int, int] = {}
        self._ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._matrix: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self._used = 0
        self._free: list[int] = []
        self._near: dict[int, set[int]] = {}
        self.waiting = 0

    def update(self, memories: Sequence[Memory]) -> dict[int, tuple[int, ...]]:
        """For each id the larger ids whose cosine is at least 0.85, ascending, over the given memories."""
        current = {memory.memory_id: memory for memory in memories if memory.row.vector}
        for memory_id in [known for known, row in self._rows.items() if _row(current, known) is not row]:
            self._forget(memory_id)
        new = [memory for memory_id, memory in current.items() if memory_id not in self._rows]
        self.waiting = max(0, len(new) - NEW_PER_DREAM)
        for start in range(0, min(len(new), NEW_PER_DREAM), BLOCK):
            self._compare_block(new[start : min(start + BLOCK, NEW_PER_DREAM)])
        return {
            memory_id: tuple(sorted(other for other in near if other > memory_id))
            for memory_id, near in self._near.items()
            if near
        }

    def cosine(self, first: int, second: int) -> float | None:
        """Cosine of two compared memories, None for others."""
        left, right = self._slots.get(first), self._slots.get(second)
        if left is None or right is None:
            return None
        return float(self._matrix[left].astype(np.float64) @ self._matrix[right].astype(np.float64))

    def _compare_block(self, block: list[Memory]) -> None:
        slots = [self._add(memory) for memory in block]
        slots = [slot for slot in slots if slot >= 0]
        if not slots:
            return
        queries = self._matrix[slots]
        for start in range(0, self._used, 4096):
            cosines = queries @ self._matrix[start : min(start + 4096, self._used)].T
            for query, column in np.argwhere(cosines >= THRESHOLD - 1e-4):
                first, second = int(self._ids[slots[query]]), int(self._ids[start + column])
                if first < 0 or second < 0 or first == second:
                    continue
                exact = self.cosine(first, second)
                if exact is not None and exact >= THRESHOLD:
                    self._near.setdefault(first, set()).add(second)
                    self._near.setdefault(second, set()).add(first)

    def _add(self, memory: Memory) -> int:
        vector = np.frombuffer(memory.row.vector, dtype="<f4").astype(np.float64)
        self._rows[memory.memory_id] = memory.row
        length = float(np.linalg.norm(vector))
        if length == 0:
            return -1
        if self._used == 0:
            self._matrix = np.zeros((BLOCK, len(vector)), dtype=np.float32)
            self._ids = np.full(BLOCK, -1, dtype=np.int64)
        if len(vector) != self._matrix.shape[1]:
            return -1
        if not self._free and self._used == len(self._ids):
            self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
            self._ids = np.concatenate([self._ids, np.full_like(self._ids, -1)])
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._used
            self._used += 1
        self._matrix[slot] = vector / length
        self._ids[slot] = memory.memory_id
        self._slots[memory.memory_id] = slot
        return slot

    def _forget(self, memory_id: int) -> None:
        del self._rows[memory_id]
        slot = self._slots.pop(memory_id, None)
        if slot is not None:
            self._ids[slot] = -1
            self._matrix[slot] = 0
            self._free.append(slot)
        for other in self._near.pop(memory_id, ()):
            self._near[other].discard(memory_id)


def _row(current: dict[int, Memory], memory_id: int) -> Row | None:
    memory = current.get(memory_id)
    return memory.row if memory else None
