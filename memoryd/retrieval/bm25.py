"""BM25 over an index that grows and shrinks one memory at a time, and the probability made from a score."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memoryd.retrieval.ordering import best_first

K1 = 1.2
B = 0.75
CALIBRATION_TERMS = 50


@dataclass(frozen=True)
class Bm25Hit:
    """`score` is raw BM25; `largest_tf` that of any matched term; `length_ratio` = length / mean length."""

    memory_id: int
    score: float
    largest_tf: int
    length_ratio: float


@dataclass(frozen=True)
class Calibration:
    """Turns raw scores into likelihoods: sigmoid(alpha * (score - beta))."""

    alpha: float = 1.0
    beta: float = 0.0


def probability(hit: Bm25Hit, calibration: Calibration) -> float:
    """Posterior that the hit answers the query, in 0..1; formulas of ferricula's search contract."""
    likelihood = _sigmoid(calibration.alpha * (hit.score - calibration.beta))
    term_prior = 0.2 + 0.7 * min(hit.largest_tf / 10, 1.0)
    length_prior = 0.3 + 0.6 * (1 - min(2 * abs(hit.length_ratio - 0.5), 1.0))
    prior = min(max(0.7 * term_prior + 0.3 * length_prior, 0.1), 0.9)
    return likelihood * prior / (likelihood * prior + (1 - likelihood) * (1 - prior))


class Bm25Index:
    """Terms of memories by id. Adding a known id replaces it. Not safe for use from two threads at once.

    `length_weight` is BM25's b: how much a longer text is held against a memory.
    """

    def __init__(self, *, length_weight: float = B) -> None:
        self._length_weight = length_weight
        self._postings: dict[str, _Posting] = {}
        self._slots: dict[int, int] = {}
        self._ids = array("q")
        self._lengths = array("d")
        self._live = bytearray()
        self._terms_of: list[tuple[str, ...]] = []
        self._total_length = 0
        self._pairs = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def pair_count(self) -> int:
        """Pairs of a term and a memory that holds it."""
        return self._pairs

    @property
    def term_count(self) -> int:
        return len(self._postings)

    def terms(self) -> dict[str, int]:
        """Every term with the number of its holders, in the order of creation."""
        return {term: posting.live for term, posting in self._postings.items()}

    def holders(self, term: str) -> frozenset[int]:
        """Ids of the memories that hold a term."""
        posting = self._postings.get(term)
        if posting is None:
            return frozenset()
        return frozenset(self._ids[slot] for slot in posting.slots if self._live[slot])

    def holder_count(self, term: str) -> int:
        posting = self._postings.get(term)
        return posting.live if posting else 0

    def terms_of(self, memory_id: int) -> tuple[str, ...]:
        """The distinct terms of one memory."""
        slot = self._slots.get(memory_id)
        return () if slot is None else self._terms_of[slot]

    def add(self, memory_id: int, tokens: Sequence[str]) -> None:
        """Indexes the tokens of one memory, repeats counted."""
        self.remove(memory_id)
        counts = Counter(tokens)
        slot = len(self._ids)
        self._slots[memory_id] = slot
        self._ids.append(memory_id)
        self._lengths.append(len(tokens))
        self._live.append(1)
        self._terms_of.append(tuple(counts))
        self._pairs += len(counts)
        self._total_length += len(tokens)
        for term, count in counts.items():
            posting = self._postings.get(term)
            if posting is None:
                posting = self._postings[term] = _Posting()
            posting.slots.append(slot)
            posting.counts.append(count)
            posting.live += 1

    def remove(self, memory_id: int) -> None:
        """Takes one memory out; an unknown id is no error."""
        slot = self._slots.pop(memory_id, None)
        if slot is None:
            return
        self._live[slot] = 0
        self._total_length -= int(self._lengths[slot])
        self._pairs -= len(self._terms_of[slot])
        for term in self._terms_of[slot]:
            posting = self._postings[term]
            posting.live -= 1
            if posting.live == 0:
                del self._postings[term]
        self._terms_of[slot] = ()
        if len(self._ids) > 1024 and len(self._slots) * 2 < len(self._ids):
            self._compact()

    def search(self, query: Iterable[str], limit: int | None = None) -> list[Bm25Hit]:
        """Hits of at least one term, highest score first, equal scores by ascending id.

        Repeated query terms count again. `limit` None answers every hit.
        """
        found = self._score(Counter(query))
        if found is None:
            return []
        scores, largest = found
        hit_slots = np.flatnonzero((largest > 0) & (np.frombuffer(self._live, dtype=np.uint8) == 1))
        ids = np.frombuffer(self._ids, dtype=np.int64)
        lengths = np.frombuffer(self._lengths)
        mean_length = max(self._total_length / len(self._slots), 1e-300)
        best = best_first(scores[hit_slots], ids[hit_slots], limit)
        return [
            Bm25Hit(
                int(ids[slot]), float(scores[slot]), int(largest[slot]), float(lengths[slot] / mean_length)
            )
            for slot in hit_slots[best]
        ]

    def scores(self, query: Mapping[str, float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Ids [n] and scores [n] of every memory that holds a term, in no order: `search` without objects.

        `query` gives each term's weight; 2.0 is a term that is said twice.
        """
        found = self._score(query)
        if found is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        scores, largest = found
        hit_slots = np.flatnonzero((largest > 0) & (np.frombuffer(self._live, dtype=np.uint8) == 1))
        return np.frombuffer(self._ids, dtype=np.int64)[hit_slots], scores[hit_slots]

    def _score(self, query: Mapping[str, float]) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        """Scores and largest term counts by slot; None when no term is known."""
        size = len(self._ids)
        if not self._slots:
            return None
        scores = np.zeros(size)
        largest = np.zeros(size, dtype=np.int64)
        lengths = np.frombuffer(self._lengths)
        mean_length = self._total_length / len(self._slots)
        found = False
        for term, repeats in query.items():
            posting = self._postings.get(term)
            if posting is None:
                continue
            found = True
            slots, counts = posting.views()
            scores[slots] += repeats * self._term_scores(posting.live, counts, lengths[slots], mean_length)
            largest[slots] = np.maximum(largest[slots], counts)
        return (scores, largest) if found else None

    def idf(self, term: str) -> float:
        """How telling a term is; the value of a term that nobody holds where nobody holds it."""
        posting = self._postings.get(term)
        return self._idf(posting.live if posting is not None else 0)

    def calibrate(self) -> Calibration:
        """Alpha and beta from the scores of the 50 most frequent terms; (1, 0) under two memories."""
        if len(self._slots) < 2:
            return Calibration()
        common = sorted(self._postings.items(), key=lambda item: (-item[1].live, item[0]))[:CALIBRATION_TERMS]
        live = np.frombuffer(self._live, dtype=np.uint8)
        lengths = np.frombuffer(self._lengths)
        mean_length = self._total_length / len(self._slots)
        pieces = []
        for _, posting in common:
            slots, counts = posting.views()
            kept = live[slots] == 1
            pieces.append(self._term_scores(posting.live, counts[kept], lengths[slots[kept]], mean_length))
        scores = np.concatenate(pieces) if pieces else np.zeros(0)
        positive = scores[scores > 0]
        if positive.size == 0:
            return Calibration()
        alpha = min(max(1 / max(float(np.std(positive)), 0.01), 0.1), 10.0)
        return Calibration(alpha, float(np.median(positive)))

    def _term_scores(
        self, holders: int, counts: NDArray[np.int64], lengths: NDArray[np.float64], mean_length: float
    ) -> NDArray[np.float64]:
        b = self._length_weight
        scaled = K1 * (1 - b + b * lengths / max(mean_length, 1.0))
        result: NDArray[np.float64] = self._idf(holders) * counts * (K1 + 1) / (counts + scaled)
        return result

    def _idf(self, holders: int) -> float:
        return max(0.0, math.log((len(self._slots) - holders + 0.5) / (holders + 0.5) + 1))

    def _compact(self) -> None:
        """Drops the slots of removed memories."""
        kept = [(int(self._ids[slot]), slot) for slot in sorted(self._slots.values())]
        tokens: dict[int, list[str]] = {slot: [] for _, slot in kept}
        for term, posting in self._postings.items():
            for slot, count in zip(posting.slots, posting.counts, strict=True):
                if self._live[slot]:
                    tokens[slot].extend([term] * count)
        self.__init__(length_weight=self._length_weight)  # type: ignore[misc]
        for memory_id, slot in kept:
            self.add(memory_id, tokens[slot])


class _Posting:
    """Who holds one term, and how often. Removed holders stay until the index is compacted."""

    __slots__ = ("counts", "live", "slots")

    def __init__(self) -> None:
        self.slots = array("q")
        self.counts = array("q")
        self.live = 0

    def views(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.frombuffer(self.slots, dtype=np.int64), np.frombuffer(self.counts, dtype=np.int64)


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1 + grown)
