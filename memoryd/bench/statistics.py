"""Figures of the retrieval benchmark: ranks to rates, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Interval = tuple[float, float]
RESAMPLES = 2_000


def first_rank(ranked: Sequence[int], gold: frozenset[int]) -> int:
    """One-based rank of the first right answer, 0 when there is none."""
    return next((rank for rank, found in enumerate(ranked, start=1) if found in gold), 0)


def hit_at(ranked: Sequence[int], gold: frozenset[int], depth: int) -> float:
    return float(0 < first_rank(ranked, gold) <= depth)


def reciprocal_rank(ranked: Sequence[int], gold: frozenset[int]) -> float:
    rank = first_rank(ranked, gold)
    return 1 / rank if rank else 0.0


def evidence_recall(ranked: Sequence[int], gold: frozenset[int], depth: int = 10) -> float:
    """Share of the right answers among the first `depth`, of those that could stand there."""
    return len(gold & set(ranked[:depth])) / min(len(gold), depth) if gold else 0.0


def clustered_interval(
    values: Sequence[float], clusters: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """95 % bootstrap interval of the mean when questions of one cluster are drawn together."""
    members: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    sums = np.array([sum(group) for group in members.values()])
    sizes = np.array([len(group) for group in members.values()])
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(sums), (resamples, len(sums)))
    means = sums[chosen].sum(axis=1) / sizes[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Exact two-sided p-value that two arms are right equally often, from the questions they differ on."""
    only_first = sum(one and not other for one, other in zip(first, second, strict=True))
    only_second = sum(other and not one for one, other in zip(first, second, strict=True))
    total, few = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, count) for count in range(few + 1)) / 2**total
    return float(min(1.0, 2 * tail))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
