"""Joining what several retrieval arms found into one order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MISSING = 0.1  # probability of a side that did not find a memory


def hybrid_probability(bm25: float | None, cosine: float | None, weight: float = 0.5) -> float:
    """ferricula's /hybrid: both sides joined as log odds; `weight` 1 is vectors only, 0 BM25 only.

    `bm25` is a calibrated probability, `cosine` in -1..1; None is a side that did not find the memory.
    """
    vector = MISSING if cosine is None else (cosine + 1) / 2
    lexical = MISSING if bm25 is None else bm25
    logit = weight * _logit(vector) + (1 - weight) * _logit(lexical)
    return 1 / (1 + math.exp(-logit))


def hybrid_ranking(
    bm25: Mapping[int, float], cosines: Mapping[int, float], weight: float = 0.5
) -> list[tuple[int, float]]:
    """(memory id, fused probability) over both sides, best first, ties by ascending id."""
    fused = {
        memory_id: hybrid_probability(bm25.get(memory_id), cosines.get(memory_id), weight)
        for memory_id in {*bm25, *cosines}
    }
    return sorted(fused.items(), key=lambda item: (-item[1], item[0]))


@dataclass(frozen=True)
class Arm:
    """One ranked list: ids best first. Its vote for rank r (from 1) is weight / (constant + r)."""

    name: str
    ids: Sequence[int]
    weight: float = 1.0
    constant: float = 60.0


def reciprocal_ranking(arms: Sequence[Arm]) -> list[tuple[int, float]]:
    """Weighted reciprocal rank fusion: (memory id, score), best first, ties by ascending id.

    With one weight and constant 60 this is the textbook form, kept as a baseline of the benchmark.
    """
    scores: dict[int, float] = {}
    for arm in arms:
        for rank, memory_id in enumerate(arm.ids, start=1):
            scores[memory_id] = scores.get(memory_id, 0.0) + arm.weight / (arm.constant + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def _logit(probability: float) -> float:
    clamped = min(max(probability, 1e-10), 1 - 1e-10)
    return math.log(clamped / (1 - clamped))
