"""What Recall ranks by: words, literals (numbers, names, commits), meaning and age in one score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from memoryd.bm25 import Bm25Index
from memoryd.memory import Memory
from memoryd.tokens import literals, tokenize
from memoryd.vector_index import Vector, VectorIndex

CANDIDATES = 200


@dataclass(frozen=True)
class Weights:
    """Shares of the arms in the score; measured choices, see docs/retrieval.md."""

    words: float = 1.0
    literals: float = 0.35
    meaning: float = 0.5
    recency: float = 0.02


@dataclass(frozen=True)
class ArmRank:
    """`rank` is one-based, 0 when the arm did not find the memory; `score` is the arm's own."""

    arm: str
    rank: int
    score: float


@dataclass(frozen=True)
class Ranked:
    """`score` is 0..1: the share of what the query asks for that the memory answers."""

    memory_id: int
    score: float
    arms: tuple[ArmRank, ...]


class RetrievalIndex:
    """Everything Recall needs of the stored memories, kept up to date one memory at a time."""

    def __init__(self, weights: Weights | None = None) -> None:
        self.words = Bm25Index()
        self.literals = Bm25Index()
        self.vectors = VectorIndex()
        self.weights = weights or Weights()
        self._created: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._created)

    def add(self, memory: Memory) -> None:
        """Indexes or replaces a memory. Raises ValueError for a vector of another dimension."""
        memory_id = memory.memory_id
        self.vectors.add(memory_id, memory.row.vector)
        text = memory.row.text
        self.words.add(memory_id, tokenize(text))
        self.literals.add(memory_id, literals(text))
        self._created[memory_id] = memory.record.created_at

    def remove(self, memory_id: int) -> None:
        """Takes a memory out; an unknown id is no error."""
        self.words.remove(memory_id)
        self.literals.remove(memory_id)
        self.vectors.remove(memory_id)
        self._created.pop(memory_id, None)

    def rank(
        self,
        query: str,
        vector: Vector | Sequence[float] | None,
        limit: int,
        allowed: Callable[[int], bool] | None = None,
    ) -> list[Ranked]:
        """The `limit` best memories for a text, a vector or both, best first, ties by ascending id.

        `allowed` filters before the limit, so a filter never leaves fewer than the store could give.
        """
        arms: dict[str, dict[int, float]] = {}
        count = max(CANDIDATES, limit) if allowed is None else len(self)
        if query:
            arms["bm25"] = _relative(self.words, tokenize(query), count)
            arms["literal"] = _relative(self.literals, literals(query), count)
        if vector is not None:
            arms["vector"] = dict(self.vectors.nearest_cosine(vector, count))
        shares = {
            "bm25": self.weights.words,
            "literal": self.weights.literals if arms.get("literal") else 0.0,
            "vector": self.weights.meaning,
        }
        total = sum(shares[name] for name in arms) or 1.0
        found = {memory_id for scores in arms.values() for memory_id in scores}
        if allowed is not None:
            found = {memory_id for memory_id in found if allowed(memory_id)}
        newest, span = self._age_range(found)
        scored = []
        for memory_id in found:
            share = sum(shares[name] * max(0.0, scores.get(memory_id, 0.0)) for name, scores in arms.items())
            age = (newest - self._created[memory_id]) / span
            scored.append((min(1.0, share / total) * (1 - self.weights.recency * age), memory_id))
        scored.sort(key=lambda pair: (-pair[0], pair[1]))
        ranks = {name: _ranks(scores) for name, scores in arms.items()}
        return [
            Ranked(
                memory_id,
                score,
                tuple(
                    ArmRank(name, ranks[name].get(memory_id, 0), scores.get(memory_id, 0.0))
                    for name, scores in arms.items()
                ),
            )
            for score, memory_id in scored[:limit]
        ]

    def _age_range(self, ids: Iterable[int]) -> tuple[int, int]:
        times = [self._created[memory_id] for memory_id in ids]
        return (max(times), max(1, max(times) - min(times))) if times else (0, 1)


def _relative(index: Bm25Index, query: Sequence[str], count: int) -> dict[int, float]:
    """BM25 as a share of what a memory of average length holding every query term once would get."""
    hits = index.search(query, count)
    ideal = sum(index.idf(term) for term in query)
    return {hit.memory_id: min(1.0, hit.score / ideal) for hit in hits} if ideal > 0 else {}


def _ranks(scores: dict[int, float]) -> dict[int, int]:
    ids = np.fromiter(scores, dtype=np.int64, count=len(scores))
    values = np.fromiter(scores.values(), dtype=np.float64, count=len(scores))
    return {int(ids[at]): rank for rank, at in enumerate(np.lexsort((ids, -values)), start=1)}
