"""Pairs of memories whose vectors nearly agree, found once per memory and kept from dream to dream.

Comparing all pairs of a large store would take minutes for every dream. Vectors do not change, so a memory
is compared with the others once; a dream takes on at most `NEW_PER_DREAM` new ones, the rest follow in the
next dreams. Notes of one lab are alike by the thousand: of the partners of a memory only as many are kept
as can join its group, and it is compared again when one of them has gone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memoryd.dreams.dream import GROUP_LIMIT
from memoryd.memory import Memory, Row, State

THRESHOLD = 0.85
NEW_PER_DREAM = 4000
BLOCK = 256


class SimilarPairs:
    """Used by one dream at a time, in its thread. `waiting` counts what later dreams will compare."""

    def __init__(self) -> None:
        self._given: dict[int, Row] = {}  # every memory of the last update that has a vector
        self._rows: dict[int, Row] = {}  # the version of each memory that was compared
        self._slots: dict[int, int] = {}
        self._ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._matrix: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self._kept: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # by slot: partners in `_near`
        self._cut: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)  # by slot: there were more
        self._used = 0
        self._free: list[int] = []
        self._near: dict[int, set[int]] = {}  # the larger ids
        self._again: set[int] = set()
        self.waiting = 0

    def update(self, memories: Sequence[Memory]) -> dict[int, tuple[int, ...]]:
        """For each id larger ids whose cosine is at least 0.85, ascending, at most GROUP_LIMIT.

        Over the given memories that can be merged: active ones with a vector that are no keystones.
        """
        self._given = {memory.memory_id: memory.row for memory in memories if memory.row.vector}
        current = {
            memory.memory_id: memory
            for memory in memories
            if memory.row.vector and memory.record.state is State.ACTIVE and not memory.record.keystone
        }
        self._forget({known for known, row in self._rows.items() if _row(current, known) is not row})
        new = [memory for memory_id, memory in current.items() if memory_id not in self._rows]
        new += [current[memory_id] for memory_id in sorted(self._again)]
        self.waiting = max(0, len(new) - NEW_PER_DREAM)
        for start in range(0, min(len(new), NEW_PER_DREAM), BLOCK):
            self._compare_block(new[start : min(start + BLOCK, NEW_PER_DREAM)])
        return {memory_id: tuple(sorted(near)) for memory_id, near in self._near.items() if near}

    def cosine(self, first: int, second: int) -> float | None:
        """Cosine of two memories of the last update, None for ids without a vector that can be compared."""
        one, other = self._given.get(first), self._given.get(second)
        if one is None or other is None or one.dimension != other.dimension:
            return None
        left, right = _numbers(one), _numbers(other)
        lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
        return float(left @ right) / lengths if lengths > 0 else None

    def _compare_block(self, block: list[Memory]) -> None:
        slots = [self._slot(memory) for memory in block]
        slots = [slot for slot in slots if slot >= 0]
        if not slots:
            return
        queries = self._matrix[slots]
        larger: list[list[NDArray[np.int64]]] = [[] for _ in slots]
        for start in range(0, self._used, 4096):
            cosines = queries @ self._matrix[start : min(start + 4096, self._used)].T
            for number, slot in enumerate(slots):
                found = np.flatnonzero(cosines[number] >= THRESHOLD - 1e-4) + start
                ids = self._ids[found]
                self._join_smaller(slot, found[(ids >= 0) & (ids < self._ids[slot])])
                larger[number].append(np.sort(ids[ids > self._ids[slot]])[: GROUP_LIMIT + 1])
        for slot, parts in zip(slots, larger, strict=True):
            self._join_larger(slot, np.sort(np.concatenate(parts)))

    def _join_smaller(self, slot: int, smaller: NDArray[np.int64]) -> None:
        """Makes the memory of a slot a partner of those with smaller ids that have room for it."""
        has_room = self._kept[smaller] < GROUP_LIMIT
        self._cut[smaller[~has_room]] = True
        for other in smaller[has_room].tolist():
            self._join(other, int(self._ids[slot]))

    def _join_larger(self, slot: int, larger: NDArray[np.int64]) -> None:
        for memory_id in larger.tolist():
            if self._kept[slot] >= GROUP_LIMIT:
                self._cut[slot] = True
                return
            self._join(slot, memory_id)

    def _join(self, slot: int, larger_id: int) -> None:
        smaller_id = int(self._ids[slot])
        near = self._near.setdefault(smaller_id, set())
        if larger_id in near:
            return
        exact = self.cosine(smaller_id, larger_id)
        if exact is not None and exact >= THRESHOLD:
            near.add(larger_id)
            self._kept[slot] += 1

    def _slot(self, memory: Memory) -> int:
        """Where the vector of a memory stands, -1 for one that is like no other."""
        memory_id = memory.memory_id
        self._again.discard(memory_id)
        if memory_id in self._rows:
            return self._slots.get(memory_id, -1)
        self._rows[memory_id] = memory.row
        vector = _numbers(memory.row)
        length = float(np.linalg.norm(vector))
        if length == 0:
            return -1
        if not self._slots:
            self._make_room(np.zeros((BLOCK, len(vector)), dtype=np.float32), used=0)
        if len(vector) != self._matrix.shape[1]:
            return -1
        if not self._free and self._used == len(self._ids):
            self._make_room(np.concatenate([self._matrix, np.zeros_like(self._matrix)]), used=self._used)
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._used
            self._used += 1
        self._matrix[slot] = vector / length
        self._ids[slot] = memory_id
        self._kept[slot], self._cut[slot] = 0, False
        self._slots[memory_id] = slot
        return slot

    def _make_room(self, matrix: NDArray[np.float32], *, used: int) -> None:
        more = len(matrix) - used
        self._matrix, self._used = matrix, used
        self._ids = np.concatenate([self._ids[:used], np.full(more, -1, dtype=np.int64)])
        self._kept = np.concatenate([self._kept[:used], np.zeros(more, dtype=np.int64)])
        self._cut = np.concatenate([self._cut[:used], np.zeros(more, dtype=np.bool_)])
        self._free = self._free if used else []

    def _forget(self, gone: set[int]) -> None:
        """Takes memories out; whoever had more partners than were kept and lost one is compared again."""
        for memory_id in gone:
            del self._rows[memory_id]
            self._near.pop(memory_id, None)
            slot = self._slots.pop(memory_id, None)
            if slot is not None:
                self._ids[slot] = -1
                self._matrix[slot] = 0
                self._free.append(slot)
        self._again -= gone
        if not gone:
            return
        for memory_id, near in self._near.items():
            lost = len(near & gone)
            if lost:
                near -= gone
                slot = self._slots[memory_id]
                self._kept[slot] -= lost
                if self._cut[slot]:
                    self._cut[slot] = False
                    self._again.add(memory_id)


def _row(current: dict[int, Memory], memory_id: int) -> Row | None:
    memory = current.get(memory_id)
    return memory.row if memory else None


def _numbers(row: Row) -> NDArray[np.float64]:
    return np.frombuffer(row.vector, dtype="<f4").astype(np.float64)
