"""The best of many scores, in an order that never depends on chance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def best_first(scores: NDArray[Any], ids: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """Positions of the `limit` highest scores (None: all), equal scores by ascending id.

    `scores` and `ids` have one shape [n]. Takes O(n) for the choice and sorts only what is returned.
    """
    if limit is None or limit >= scores.size:
        return np.lexsort((ids, -scores))
    if limit <= 0:
        return np.zeros(0, dtype=np.int64)
    edge = np.partition(scores, scores.size - limit)[scores.size - limit]
    above = np.flatnonzero(scores > edge)
    level = np.flatnonzero(scores == edge)
    missing = limit - above.size
    if level.size > missing:  # thousands of equal scores: take the lowest ids without sorting them all
        level = level[np.argpartition(ids[level], missing - 1)[:missing]]
    chosen = np.concatenate([above, level])
    return chosen[np.lexsort((ids[chosen], -scores[chosen]))]
