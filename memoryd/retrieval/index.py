"""What Recall ranks by: matched terms, meaning where words are missing, and the order of time."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memoryd.memory import Memory
from memoryd.retrieval.bm25 import Bm25Index
from memoryd.retrieval.ordering import best_first
from memoryd.retrieval.research_terms import is_knob, query_terms, research_terms
from memoryd.retrieval.tokens import tokenize
from memoryd.retrieval.vector_index import Vector, VectorIndex

CANDIDATES = 200
LENGTH_WEIGHT = 0.0  # a longer note on one experiment is not a worse answer
RARE = 3  # holders up to which a term names one memory
FOLLOWERS = 3
EVIDENCE = 1.1  # telling terms that must match for a score of one half
NOBODY_HOLDS = "\x00"
_AFTER = re.compile(r"\b(?:after|following|since|next)\b", re.IGNORECASE)
_BEFORE = re.compile(r"\bbefore\b", re.IGNORECASE)


@dataclass(frozen=True)
class Weights:
    """Measured choices; see docs/retrieval.md.

    The order is by the share of the query's terms that a memory holds, weighed by how telling they are. For
    the share that nobody holds, `meaning` times the cosine stands in; `meaning_always` times it is added.
    `recency` takes off at most this share for the oldest candidate. `newest_first` puts the newest of
    memories first that say the same; `follow_time` answers "what came after …".
    """

    meaning: float = 0.6
    meaning_always: float = 0.02
    concept_tells: float = 0.7
    recency: float = 0.02
    newest_first: bool = True
    follow_time: bool = True


@dataclass(frozen=True)
class ArmRank:
    """`rank` is one-based, 0 when the arm did not find the memory; `score` is the arm's own."""

    arm: str
    rank: int
    score: float


@dataclass(frozen=True)
class Ranked:
    """`score` is 0..1, comparable between queries: under about 0.45 the answer is likely "never tried"."""

    memory_id: int
    score: float
    arms: tuple[ArmRank, ...]


class RetrievalIndex:
    """Everything Recall needs of the stored memories, kept up to date one memory at a time.

    `words` is ferricula's index, for /search; `terms` and `vectors` are what `rank` uses.
    """

    def __init__(self, *, with_glossary: bool = True) -> None:
        self.words = Bm25Index()
        self.terms = Bm25Index(length_weight=LENGTH_WEIGHT)
        self.vectors = VectorIndex()
        self._with_glossary = with_glossary
        self._created: dict[int, int] = {}
        self._timeline: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._created)

    def add(self, memory: Memory) -> None:
        """Indexes or replaces a memory. Raises ValueError for a vector of another dimension."""
        memory_id, text = memory.memory_id, memory.row.text
        self.vectors.add(memory_id, memory.row.vector)
        self.words.add(memory_id, tokenize(text))
        self.terms.add(memory_id, research_terms(text, with_glossary=self._with_glossary))
        self._forget_time(memory_id)
        self._created[memory_id] = memory.record.created_at
        insort(self._timeline, (memory.record.created_at, memory_id))

    def remove(self, memory_id: int) -> None:
        """Takes a memory out; an unknown id is no error."""
        self.words.remove(memory_id)
        self.terms.remove(memory_id)
        self.vectors.remove(memory_id)
        self._forget_time(memory_id)

    def rank(
        self,
        query: str,
        vector: Vector | Sequence[float] | None,
        limit: int,
        allowed: Callable[[int], bool] | None = None,
        weights: Weights | None = None,
    ) -> list[Ranked]:
        """The `limit` best memories for a text, a vector or both, best first, ties by ascending id.

        `allowed` filters before the limit, so a filter never leaves fewer than the store could give.
        """
        weights = weights or Weights()
        count = max(CANDIDATES, limit)
        asked: dict[str, float] = {}
        if query:
            asked = query_terms(query, self._holds, with_glossary=self._with_glossary)
        worth = {term: weight * self.terms.idf(term) for term, weight in asked.items()}
        ideal = sum(worth.values())
        held = sum(value for term, value in worth.items() if self.terms.holder_count(term))
        known = held / ideal if ideal else 0.0
        arms: dict[str, dict[int, float]] = {}
        if query:
            ids, scores = self.terms.scores(asked)
            arms["bm25"] = _best(ids, scores / (ideal or 1.0), count, allowed)
        if vector is not None:
            ids, cosines = self.vectors.centred_cosines(vector) if query else self._raw_cosines(vector)
            arms["vector"] = _best(ids, cosines, count, allowed)
        share = 1.0
        meaning = dict(arms.get("vector", {}))
        if query:
            told = (1 - known) * (1 - weights.concept_tells * self._understood(asked))
            share = weights.meaning_always + weights.meaning * told
            if meaning:
                meaning |= self.vectors.picked(cosines, arms["bm25"])
        scored = self._fuse(arms.get("bm25", {}), meaning, share, weights.recency)
        if query:
            scored = self._comparable(scored, arms, ideal)
        else:
            scored = [(min(1.0, score), memory_id) for score, memory_id in scored]
        if query and weights.newest_first:
            scored = self._newest_first(
                scored, frozenset(term for term, weight in asked.items() if weight >= 0.5)
            )
        if query and weights.follow_time and scored:
            scored = self._follow_time(scored, query, asked, allowed)
        ranks = {name: {found: rank for rank, found in enumerate(hits, 1)} for name, hits in arms.items()}
        return [
            Ranked(
                memory_id,
                score,
                tuple(
                    ArmRank(name, ranks[name].get(memory_id, 0), hits.get(memory_id, 0.0))
                    for name, hits in arms.items()
                ),
            )
            for score, memory_id in scored[:limit]
        ]

    def _holds(self, term: str) -> bool:
        return self.terms.holder_count(term) > 0

    def _raw_cosines(self, vector: Vector | Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found = self.vectors.nearest_cosine(vector, len(self.vectors))
        ids = np.fromiter((memory_id for memory_id, _ in found), dtype=np.int64, count=len(found))
        return ids, np.fromiter((cosine for _, cosine in found), dtype=np.float32, count=len(found))

    def _understood(self, asked: Mapping[str, float]) -> float:
        """How surely, 0..1, the query is about a knob that the store knows."""
        knobs = (min(1.0, weight) for term, weight in asked.items() if is_knob(term) and self._holds(term))
        return max(knobs, default=0.0)

    def _fuse(
        self, words: dict[int, float], vectors: dict[int, float], share: float, recency: float
    ) -> list[tuple[float, int]]:
        found = {*words, *vectors}
        times = [self._created[memory_id] for memory_id in found]
        newest, span = (max(times), max(1, max(times) - min(times))) if times else (0, 1)
        scored = []
        for memory_id in found:
            score = words.get(memory_id, 0.0) + share * max(0.0, vectors.get(memory_id, 0.0))
            age = (newest - self._created[memory_id]) / span
            scored.append((score * (1 - recency * age), memory_id))
        scored.sort(key=lambda pair: (-pair[0], pair[1]))
        return scored

    def _comparable(
        self, scored: list[tuple[float, int]], arms: dict[str, dict[int, float]], ideal: float
    ) -> list[tuple[float, int]]:
        """Scores that mean the same in every answer, in the same order.

        The best gets m / (m + EVIDENCE), m being what it matched in units of the most telling term that this
        store could hold, or half its cosine if that is more; the others their share of that.
        """
        if not scored or scored[0][0] <= 0:
            return scored
        words = max(arms.get("bm25", {}).values(), default=0.0)
        matched = words * ideal / max(self.terms.idf(NOBODY_HOLDS), 1e-9)
        meaning = max(arms.get("vector", {}).values(), default=0.0)
        best = max(matched / (matched + EVIDENCE), 0.5 * min(1.0, max(0.0, meaning)))
        return [(best * max(0.0, score) / scored[0][0], memory_id) for score, memory_id in scored]

    def _newest_first(
        self, scored: list[tuple[float, int]], asked: frozenset[str]
    ) -> list[tuple[float, int]]:
        """Among the best, memories that say nearly the same and answer the same terms: newest first."""
        groups: list[tuple[frozenset[str], frozenset[str], list[int]]] = []
        for position, (_, memory_id) in enumerate(scored[:50]):
            terms = frozenset(self.terms.terms_of(memory_id))
            matched = terms & asked
            for other_matched, other_terms, positions in groups:
                if matched == other_matched and _alike(terms, other_terms):
                    positions.append(position)
                    break
            else:
                groups.append((matched, terms, [position]))
        result = list(scored)
        for _, _, positions in groups:
            ids = [scored[position][1] for position in positions]
            ids.sort(key=lambda memory_id: (-self._created[memory_id], -memory_id))
            for position, memory_id in zip(positions, ids, strict=True):
                result[position] = (scored[position][0], memory_id)
        return result

    def _follow_time(
        self,
        scored: list[tuple[float, int]],
        query: str,
        asked: Iterable[str],
        allowed: Callable[[int], bool] | None,
    ) -> list[tuple[float, int]]:
        """For "what came after …": the memories next in time to the one that the query names."""
        after, before = _AFTER.search(query), _BEFORE.search(query)
        score, anchor = scored[0]
        named = any(
            0 < self.terms.holder_count(term) <= RARE
            and term[0] in "#~"
            and term in self.terms.terms_of(anchor)
            for term in asked
        )
        if not named or bool(after) == bool(before):
            return scored
        key = (self._created[anchor], anchor)
        if after:
            at = bisect_right(self._timeline, key)
            near = self._timeline[at : at + FOLLOWERS * 4]
        else:
            at = bisect_left(self._timeline, key)
            near = self._timeline[max(0, at - FOLLOWERS * 4) : at][::-1]
        following = [memory_id for _, memory_id in near if allowed is None or allowed(memory_id)][:FOLLOWERS]
        return [
            *((score, memory_id) for memory_id in following),
            *(s for s in scored if s[1] not in following),
        ]

    def _forget_time(self, memory_id: int) -> None:
        created = self._created.pop(memory_id, None)
        if created is not None:
            at = bisect_left(self._timeline, (created, memory_id))
            del self._timeline[at]


def _best(
    ids: NDArray[np.int64],
    scores: NDArray[np.float64] | NDArray[np.float32],
    count: int,
    allowed: Callable[[int], bool] | None,
) -> dict[int, float]:
    """The `count` best allowed ids with their scores, best first."""
    order = best_first(scores, ids, count if allowed is None else None)
    result: dict[int, float] = {}
    for at in order:
        memory_id = int(ids[at])
        if allowed is None or allowed(memory_id):
            result[memory_id] = float(scores[at])
            if len(result) >= count:
                break
    return result


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return 2 * len(one & other) >= len(one | other)
