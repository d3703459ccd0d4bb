"""How much a paired difference moves when nothing has changed: estimated, never assumed.

Two sources, both real measurements of the session:

- Replicates of the baseline, one seed each. Their variance tau^2 holds the seed's share and the run's own
  share. A difference of two runs on one seed has variance 2 tau^2 (1 - rho), where rho >= 0 is what the
  shared seed takes out, so 2 tau^2 bounds it. The bound may be loose: ten times the truth was measured
  for small changes of a rate, and no slack at all for a change of depth.
- Pairs of proposals. Inside one proposal the differences spread around their own mean whatever the
  effect is: n pairs give n - 1 degrees of freedom. Differences between proposals or between successive
  keeps are never used; they contain effects.

Proposals differ in noise. Their variances are taken as scaled inverse chi-squared around a typical value,
and both that value and how alike they are (the degrees of freedom that the typical value is worth for a
new proposal) are estimated from all of them: the moderated t statistic of empirical Bayes (Lonnstedt and
Speed 2002, Smyth 2004), here with the posterior over a grid instead of moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.judging.evidence import Array, log_gamma

BOUND_DEGREES = 9.0
LEARNING_DEGREES = 6.0
_ALIKE = np.array([3.0, 6.0, 12.0, 24.0, 48.0, 96.0])
_CAUTION = 2.0
_LOG_RATIO = math.log(2) * np.arange(-14.0, 4.01, 0.5)


@dataclass(frozen=True)
class NoiseEstimate:
    """Typical standard deviation of a paired difference, in bits per byte, and what it is worth.

    degrees: degrees of freedom that sigma counts for in judging a new proposal; 0 when nothing is known.
    pair_degrees: degrees of freedom that came from pairs. While they are few, sigma is only the bound from
    the replicates (see JudgePolicy.learning_degrees). replicates: runs behind that bound.
    """

    sigma: float
    degrees: float
    pair_degrees: float = 0.0
    replicates: int = 0

    @property
    def relative_error(self) -> float:
        """Standard error of sigma over sigma."""
        return math.inf if self.degrees <= 0 else 1 / math.sqrt(2 * self.degrees)

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Approximate interval of sigma (Wilson and Hilferty), 95 % by default."""
        if self.degrees <= 0:
            return 0.0, math.inf
        return self.sigma / _root_of_chi2(self.degrees, z), self.sigma / _root_of_chi2(self.degrees, -z)


def estimate_noise(
    replicates: Sequence[float],
    differences: Iterable[Sequence[float]] = (),
    *,
    learning_degrees: float = LEARNING_DEGREES,
) -> NoiseEstimate:
    """Noise from all that a session has measured: a pure function, so a resumed session gets the same.

    replicates: scores of the unchanged baseline, one per seed. differences: for each judged proposal, its
    paired differences (candidate minus incumbent). Values that are not finite are left out; so are
    proposals whose pairs are all exactly equal, because they did not change the training.
    """
    scores = [score for score in replicates if math.isfinite(score)]
    sums, counts = _spreads(differences)
    pair_degrees = float(sum(counts))
    bound = 2 * _sum_of_squares(scores) / (len(scores) - 1) if len(scores) >= 2 else 0.0
    if pair_degrees < learning_degrees and bound > 0:
        degrees = min(len(scores) - 1.0, BOUND_DEGREES)
        return NoiseEstimate(math.sqrt(bound), degrees, pair_degrees, len(scores))
    if pair_degrees == 0:
        return NoiseEstimate(0.0, 0.0, 0.0, len(scores))
    anchor = bound or sum(sums) / pair_degrees
    belief = log_likelihood(np.array(sums), np.array(counts), np.full(len(sums), anchor)).sum(axis=0)
    ratio, degrees_array = summarise(belief[None], np.array([pair_degrees]))
    return NoiseEstimate(
        math.sqrt(anchor * float(ratio[0])), float(degrees_array[0]), pair_degrees, len(scores)
    )


def log_likelihood(sums: Array, degrees: Array, anchors: Array) -> Array:
    """Log-likelihood of within-proposal spreads over the grid of the noise model.

    sums [N]: sums of squares around the proposal's mean; degrees [N]: pairs - 1; anchors [N]: variance
    that the grid is relative to. Returns [N, likeness, typical variance / anchor].
    """
    ss, df, anchor = sums[:, None, None], degrees[:, None, None], anchors[:, None, None]
    alike = _ALIKE[None, :, None]
    scale = alike * anchor * np.exp(_LOG_RATIO)[None, None, :]
    half = (df + alike) / 2
    result: Array = (
        log_gamma(half) - log_gamma(alike / 2) - df / 2 * np.log(scale) - half * np.log1p(ss / scale)
    )
    return result


def summarise(belief: Array, pair_degrees: Array) -> tuple[Array, Array]:
    """Typical variance / anchor [N] and the degrees it is worth [N], from summed log-likelihoods [N, ., .].

    The worth is a harmonic sum: how alike proposals are, and how well the typical value is known. Where it
    is small it counts for less still: it is an estimate itself, and the proposals that would be kept by
    mistake are those that are noisier than it says.
    """
    weight = np.exp(belief - belief.max(axis=(1, 2), keepdims=True))
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    ratio = np.exp(weight.sum(axis=1) @ _LOG_RATIO)
    unlike = weight.sum(axis=2) @ (1 / _ALIKE)
    worth = 1 / (unlike + 1 / np.maximum(pair_degrees, 1e-9))
    return ratio, np.maximum(worth * worth / (worth + _CAUTION), 1.0)


def empty_belief(sessions: int) -> npt.NDArray[np.float64]:
    """Zeros of the shape that log_likelihood returns, for a sum to start from."""
    return np.zeros((sessions, len(_ALIKE), len(_LOG_RATIO)))


def _spreads(differences: Iterable[Sequence[float]]) -> tuple[list[float], list[float]]:
    sums: list[float] = []
    counts: list[float] = []
    for values in differences:
        finite = [value for value in values if math.isfinite(value)]
        if len(finite) >= 2 and any(finite):
            sums.append(_sum_of_squares(finite))
            counts.append(len(finite) - 1.0)
    return sums, counts


def _sum_of_squares(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _root_of_chi2(degrees: float, z: float) -> float:
    """sqrt(quantile of chi-squared / degrees) at the normal quantile z."""
    k = 2 / (9 * degrees)
    return math.sqrt(max(1e-9, 1 - k + z * math.sqrt(k)) ** 3)
