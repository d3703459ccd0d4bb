"""A stand-in for training: a smooth model of val_bpb over the block, fitted to recorded real runs.

Only for comparing ways to search (agent/search/bench.py); it decides nothing in a session. The recorded
runs are in recorded_trials.json beside it: differences to the baseline on the same seed. The model is ridge
regression on each hyperparameter's own line and parabola (numbers, on the unit axis of the search space)
or indicator (the rest), on a compressed scale: bad configurations are very bad, gains have an end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.search.dimensions import Dimension, dimensions_of, plain_values
from agent.search.space import Value

RECORDED = Path(__file__).with_name("recorded_trials.json")
_RIDGE = 0.02
_CURVATURE = 0.1  # what ridge shrinks a parabola to: without data, far away is worse
_WORSE = 0.05  # bits per byte: losses beyond this are compressed by logarithm
_BETTER = 0.25  # gains approach this and never reach it: no recorded one came near


@dataclass(frozen=True)
class RecordedRun:
    """One real run: what it changed in the baseline's block, and its paired difference to the baseline."""

    changes: Mapping[str, object]
    seed: int
    difference: float


class Surrogate:
    """Predicts a configuration's difference to the baseline in bits per byte; 0 for the baseline itself."""

    def __init__(self, baseline: Mapping[str, Value], runs: Sequence[RecordedRun], noise: float) -> None:
        self.baseline = dict(baseline)
        self.noise = noise
        varied = {name for run in runs for name in run.changes}
        seen = [plain_values(run.changes) for run in runs]
        self.dimensions = [d for d in dimensions_of(self.baseline, seen) if d.name in varied]
        rows = np.array([self._features(self.baseline | values) for values in seen])
        prior = self._prior()
        target = np.array([_compress(run.difference) for run in runs]) - rows @ prior
        gram = rows.T @ rows + _RIDGE * np.eye(rows.shape[1])
        self._weights: npt.NDArray[np.float64] = prior + np.linalg.solve(gram, rows.T @ target)

    def difference(self, block: Mapping[str, object]) -> float:
        """Expected difference to the baseline of a full block; hyperparameters never varied are ignored."""
        return _expand(float(self._features(block) @ self._weights))

    def optimum(self) -> float:
        """The lowest difference: the model is additive, so each hyperparameter's best value by itself."""
        block: dict[str, object] = dict(self.baseline)
        for dimension in self.dimensions:
            values = dimension.choices or [dimension.from_unit(i / 200) for i in range(201)]
            block[dimension.name] = min(values, key=lambda v: self.difference(block | {dimension.name: v}))
        return self.difference(block)

    def _prior(self) -> npt.NDArray[np.float64]:
        weights: list[float] = []
        for d in self.dimensions:
            weights += [0.0] * (len(d.choices) - 1) if d.choices else [0.0, _CURVATURE]
        return np.array(weights)

    def _features(self, block: Mapping[str, object]) -> npt.NDArray[np.float64]:
        features: list[float] = []
        for dimension in self.dimensions:
            features += _own_features(dimension, block[dimension.name], self.baseline[dimension.name])
        return np.array(features)


def load_surrogate(path: Path = RECORDED) -> Surrogate:
    """The shipped surrogate. Raises OSError and ValueError for a file that is missing or damaged."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    baseline: dict[str, Value] = plain_values(stored["baseline"])  # type: ignore[assignment]
    scores = {run["seed"]: run["val_bpb"] for run in stored["runs"] if not run["changes"]}
    runs = [
        RecordedRun(run["changes"], run["seed"], run["val_bpb"] - scores[run["seed"]])
        for run in stored["runs"]
        if run["changes"] and run["val_bpb"] is not None
    ]
    return Surrogate(baseline, runs, stored["noise_sigma"])


def _own_features(dimension: Dimension, value: object, at_baseline: Value) -> list[float]:
    if dimension.choices:
        return [float(value == choice) for choice in dimension.choices if choice != at_baseline]
    place, origin = dimension.to_unit(value), dimension.to_unit(at_baseline)  # type: ignore[arg-type]
    return [place - origin, (place - origin) ** 2]


def _compress(difference: float) -> float:
    """Bits per byte to the additive scale; equal to the difference itself where that is small."""
    if difference >= 0:
        return _WORSE * math.log1p(difference / _WORSE)
    return _BETTER * math.log1p(max(difference, -0.99 * _BETTER) / _BETTER)


def _expand(value: float) -> float:
    if value >= 0:
        return _WORSE * math.expm1(min(value / _WORSE, 5.0))
    return _BETTER * math.expm1(value / _BETTER)
