"""The sanity check of SP 800-90B section 3.1.4.3 on restart data."""

from __future__ import annotations

import math

import numpy as np

from entropyd.health_tests.continuous_tests import Samples

FALSE_ALARM = 0.01


def check_restarts(matrix: Samples, min_entropy: float) -> bool:
    """False when one value occurs so often in a row or a column that `min_entropy` bits per sample cannot
    be true; by chance once in a hundred assessments. `matrix` is [restarts, samples]."""
    rows, columns = matrix.shape
    alpha = FALSE_ALARM / (rows + columns)
    return all(
        int(largest_count(lines).max()) <= count_limit(lines.shape[1], min_entropy, alpha)
        for lines in (matrix, matrix.T)
    )


def largest_count(lines: Samples) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How often the commonest value occurs, for each line."""
    return np.array([np.bincount(line, minlength=256).max() for line in lines])


def count_limit(trials: int, min_entropy: float, alpha: float) -> int:
    """The smallest k with P(X > k) ≤ alpha, X of Binomial(trials, 2^-min_entropy)."""
    share = 2.0**-min_entropy
    if share >= 1.0:
        return trials
    tail = 0.0
    for k in range(trials, 0, -1):
        tail += math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * math.log(share)
            + (trials - k) * math.log1p(-share)
        )
        if tail > alpha:
            return k
    return 0
