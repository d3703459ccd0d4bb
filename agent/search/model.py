"""What all trials together say of each hyperparameter: a Bayesian additive model, sampled once per proposal.

Each number has a line and a parabola around the incumbent, each choice a value of its own; the levels of
bad trials are compressed. One draw from the posterior (Thompson sampling) both uses and tests what it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from agent.search.dimensions import Dimension
from agent.search.space import Value

_REACH = 0.35  # of a unit axis, from the incumbent
_GRID = np.linspace(-_REACH, _REACH, 15)


def sample_best_values(
    dimensions: Sequence[Dimension],
    block: Mapping[str, Value],
    incumbent_level: float,
    trials: Sequence[tuple[Mapping[str, object], float]],
    seed: int,
) -> list[tuple[Dimension, Value]]:
    """Dimensions with a better value than the incumbent's in one draw of the model, best gain first.

    trials: full vectors and levels (bits per byte, lower is better) that these dimensions can hold.
    """
    if len(trials) < 2:
        return []
    rows = np.array([_features(dimensions, values, block) for values, _ in trials])
    level = np.array([level for _, level in trials]) - incumbent_level
    scale = max(float(np.median(np.abs(level))), 1e-6)
    target = np.sign(level) * scale * np.log1p(np.abs(level) / scale)
    size, noise = max(float(target.std()), 1e-6), max(float(target.std()) * 0.3, 1e-6)
    precision = rows.T @ rows / noise**2 + np.eye(rows.shape[1]) / size**2
    mean = np.linalg.solve(precision, rows.T @ target) / noise**2
    normal = np.random.default_rng(seed).normal(size=len(mean))
    weights = mean + np.linalg.solve(np.linalg.cholesky(precision).T, normal)
    found: list[tuple[float, Dimension, Value]] = []
    first = 0
    for dimension in dimensions:
        width = len(dimension.choices) or 2
        own = weights[first : first + width]
        first += width
        gain, value = _best(dimension, block[dimension.name], own)
        if gain < 0 and value != block[dimension.name]:
            found.append((gain, dimension, value))
    return [(dimension, value) for _, dimension, value in sorted(found, key=lambda item: item[0])]


def _best(dimension: Dimension, present: Value, weights: npt.NDArray[np.float64]) -> tuple[float, Value]:
    if dimension.choices:
        gains = weights - weights[dimension.choices.index(present)]
        index = int(np.argmin(gains))
        return float(gains[index]), dimension.choices[index]
    place = dimension.to_unit(present)
    steps = _GRID[(place + _GRID >= 0) & (place + _GRID <= 1)]
    gains = steps * weights[0] + (steps / _REACH) ** 2 * weights[1]
    index = int(np.argmin(gains))
    return float(gains[index]), dimension.from_unit(place + float(steps[index]))


def _features(
    dimensions: Sequence[Dimension], values: Mapping[str, object], block: Mapping[str, Value]
) -> list[float]:
    features: list[float] = []
    for dimension in dimensions:
        value, present = values[dimension.name], block[dimension.name]
        if dimension.choices:
            features += [float(value == c) - float(present == c) for c in dimension.choices]
        else:
            step = dimension.to_unit(value) - dimension.to_unit(present)  # type: ignore[arg-type]
            features += [step, (step / _REACH) ** 2]
    return features
