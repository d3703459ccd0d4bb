"""Exact nearest vectors by numpy: 100,000 vectors of 256 numbers take about 10 ms on one core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from memoryd.retrieval.ordering import best_first

MEAN_PRIOR = 100  # vectors at the origin that the mean direction starts from
Vector = NDArray[np.float32]


class VectorIndex:
    """Vectors by memory id, all of one dimension, which the first one fixes. Not for two threads at once."""

    def __init__(self) -> None:
        self._rows: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self._norms: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._ids: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._positions: dict[int, int] = {}
        self._direction_sum: NDArray[np.float64] = np.zeros(0)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, memory_id: int) -> bool:
        return memory_id in self._positions

    @property
    def dimension(self) -> int:
        """0 until the first vector is added."""
        return int(self._rows.shape[1])

    def add(self, memory_id: int, vector: bytes | Vector | Sequence[float]) -> None:
        """Stores or replaces a vector; bytes are little-endian float32. An empty one removes the id.

        Raises ValueError for another dimension than the index has.
        """
        row = as_vector(vector)
        if row.size == 0:
            self.remove(memory_id)
            return
        if self.dimension not in (0, row.size):
            raise ValueError(f"vector dimension mismatch: expected {self.dimension}, got {row.size}")
        position = self._positions.get(memory_id)
        if position is None:
            position = len(self._positions)
            self._make_room(position + 1, row.size)
            self._positions[memory_id] = position
            self._ids[position] = memory_id
        else:
            self._direction_sum -= self._direction(position)
        self._rows[position] = row
        self._norms[position] = np.linalg.norm(row)
        if self._direction_sum.size == 0:
            self._direction_sum = np.zeros(row.size)
        self._direction_sum += self._direction(position)

    def remove(self, memory_id: int) -> None:
        """Takes a vector out; an unknown id is no error. The dimension stays."""
        position = self._positions.pop(memory_id, None)
        if position is None:
            return
        self._direction_sum -= self._direction(position)
        last = len(self._positions)
        if position != last:
            self._rows[position] = self._rows[last]
            self._norms[position] = self._norms[last]
            self._ids[position] = self._ids[last]
            self._positions[int(self._ids[position])] = position

    def vector(self, memory_id: int) -> Vector | None:
        """A copy of one vector."""
        position = self._positions.get(memory_id)
        return None if position is None else self._rows[position].copy()

    def matrix(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Copies of all ids [n] and vectors [n, dimension], by ascending id."""
        size = len(self._positions)
        order = np.argsort(self._ids[:size])
        return self._ids[:size][order], self._rows[:size][order]

    def cosines(self, vector: bytes | Vector | Sequence[float]) -> NDArray[np.float32]:
        """Cosine to every stored vector, in the order of `ids`; zero vectors give 0."""
        query = as_vector(vector)
        size = len(self._positions)
        if query.size != self.dimension or size == 0:
            return np.zeros(0, dtype=np.float32)
        products = self._rows[:size] @ query
        lengths = self._norms[:size] * np.linalg.norm(query)
        result: NDArray[np.float32] = np.divide(
            products, lengths, out=np.zeros_like(products), where=lengths > 0
        )
        return result

    def centred_cosines(
        self, vector: bytes | Vector | Sequence[float]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids [n] and cosines [n] after the mean direction of the store is taken off both sides.

        Notes of one lab are alike in most of what they say; without the mean, only the rest is compared.
        Another dimension gives nothing. In a small store the mean counts less.
        """
        query = as_vector(vector)
        size = len(self._positions)
        length = float(np.linalg.norm(query))
        if query.size != self.dimension or size == 0 or length == 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        direction = query / length
        mean = (self._direction_sum / (size + MEAN_PRIOR)).astype(np.float32)
        products = self._rows[:size] @ np.stack([direction, mean], axis=1)
        norms = np.maximum(self._norms[:size], 1e-12)
        to_query, to_mean = products[:, 0] / norms, products[:, 1] / norms
        mean_square, query_mean = float(mean @ mean), float(direction @ mean)
        inner = to_query - to_mean - query_mean + mean_square
        lengths = np.sqrt(np.maximum(1 - 2 * to_mean + mean_square, 1e-9))
        own = np.sqrt(max(1 - 2 * query_mean + mean_square, 1e-9))
        result: NDArray[np.float32] = np.where(self._norms[:size] > 0, inner / (lengths * own), 0.0)
        return self._ids[:size], result

    def picked(self, values: NDArray[np.float32], memory_ids: Iterable[int]) -> dict[int, float]:
        """Of one value for each stored vector, those of some ids; ids without a vector are left out."""
        return {
            memory_id: float(values[position])
            for memory_id in memory_ids
            if (position := self._positions.get(memory_id)) is not None and position < values.size
        }

    def nearest_cosine(self, vector: bytes | Vector | Sequence[float], count: int) -> list[tuple[int, float]]:
        """(memory id, cosine), best first, ties by ascending id. Another dimension finds nothing."""
        return self._best(self.cosines(vector), count)

    def nearest_l2(self, vector: bytes | Vector | Sequence[float], count: int) -> list[tuple[int, float]]:
        """(memory id, negative distance), best first, ties by ascending id."""
        query = as_vector(vector)
        size = len(self._positions)
        if query.size != self.dimension or size == 0:
            return []
        return self._best(-np.linalg.norm(self._rows[:size] - query, axis=1), count)

    def _direction(self, position: int) -> NDArray[np.float64]:
        norm = float(self._norms[position])
        return self._rows[position].astype(np.float64) / norm if norm > 0 else np.zeros(self.dimension)

    def _best(self, scores: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
        ids = self._ids[: scores.size]
        return [(int(ids[at]), float(scores[at])) for at in best_first(scores, ids, max(count, 0))]

    def _make_room(self, size: int, dimension: int) -> None:
        if self._rows.shape[0] >= size and self.dimension == dimension:
            return
        room = max(64, size, self._rows.shape[0] * 3 // 2)
        rows = np.zeros((room, dimension), dtype=np.float32)
        norms, ids = np.zeros(room, dtype=np.float32), np.zeros(room, dtype=np.int64)
        if size > 1:
            rows[: size - 1] = self._rows[: size - 1]
            norms[: size - 1] = self._norms[: size - 1]
            ids[: size - 1] = self._ids[: size - 1]
        self._rows, self._norms, self._ids = rows, norms, ids


def as_vector(vector: bytes | Vector | Sequence[float]) -> Vector:
    """One float32 row of packed bytes or numbers."""
    if isinstance(vector, bytes):
        return np.frombuffer(vector, dtype="<f4").astype(np.float32)
    return np.asarray(vector, dtype=np.float32)
