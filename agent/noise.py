"""How much a paired difference moves when nothing has changed: estimated, never assumed.

Two sources, both real measurements of this session:

- Replicates of the baseline, one seed each. Their variance tau^2 contains the seed's share and the run's
  own share. A difference of two runs on one seed has variance 2 tau^2 (1 - rho) with rho >= 0 the part
  that a shared seed takes out, so 2 tau^2 bounds it from above: a bound that needs no second kind of run.
- Pairs of proposals. Inside one proposal the differences spread around their own mean, whatever the
  proposal's effect is: n pairs give n - 1 degrees of freedom. Differences between proposals or between
  successive keeps are never used; they contain effects.

The two are pooled by degrees of freedom; replicates count at most `REPLICATE_DEGREES`, so that the pairs,
which measure the right quantity, take over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

REPLICATE_DEGREES = 9.0


@dataclass(frozen=True)
class NoiseEstimate:
    """Standard deviation of a paired difference in bits per byte, and how well it is known.

    `degrees` are the degrees of freedom of the estimate; 0 means that nothing is known.
    """

    sigma: float
    degrees: float

    @property
    def relative_error(self) -> float:
        """Standard error of sigma over sigma."""
        return math.inf if self.degrees <= 0 else 1 / math.sqrt(2 * self.degrees)

    def interval(self, z: float = 1.96) -> tuple[float, float]:
        """Approximate confidence interval of sigma (Wilson-Hilferty), 95 % by default."""
        if self.degrees <= 0:
            return 0.0, math.inf
        return self.sigma / _root_of_chi2(self.degrees, z), self.sigma / _root_of_chi2(self.degrees, -z)


def estimate_noise(replicates: Sequence[float], differences: Iterable[Sequence[float]] = ()) -> NoiseEstimate:
    """Noise from all that a session has measured: a pure function, so a resumed session gets the same.

    replicates: scores of the unchanged baseline, one per seed. differences: for each proposal, its paired
    differences (candidate minus incumbent). Values that are not finite are left out.
    """
    total, degrees = 0.0, 0.0
    scores = [score for score in replicates if math.isfinite(score)]
    if len(scores) >= 2:
        degrees = min(float(len(scores) - 1), REPLICATE_DEGREES)
        total = degrees * 2 * _sum_of_squares(scores) / (len(scores) - 1)
    for values in differences:
        finite = [value for value in values if math.isfinite(value)]
        if len(finite) >= 2:
            total += _sum_of_squares(finite)
            degrees += len(finite) - 1
    return NoiseEstimate(math.sqrt(total / degrees) if degrees else 0.0, degrees)


def _sum_of_squares(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def _root_of_chi2(degrees: float, z: float) -> float:
    """sqrt(quantile of chi-squared / degrees) at the normal quantile z."""
    k = 2 / (9 * degrees)
    return math.sqrt(max(1e-9, 1 - k + z * math.sqrt(k)) ** 3)
