"""Sequential evidence for an effect of known direction when the noise is itself an estimate.

The quantity is the likelihood ratio of the t statistic: noncentral t (the design effect) over central t
(no effect). The t statistic does not depend on the unit of the noise, so the ratio is an e-process for
"no effect or worse" whatever sigma truly is: it may be looked at after every pair, and exceeds 1 / alpha
at any time with probability at most alpha (Ville's inequality). With many degrees of freedom it is Wald's
sequential probability ratio.

Source of the form used here: for T = Z / sqrt(chi2_k / k), f(T | ncp) / f(T | 0) =
exp(-ncp^2 / 2) E[exp(x R)], R chi-distributed with k + 1 degrees of freedom, x = ncp T / sqrt(k + T^2).
"""

from __future__ import annotations

import math

_NODES = 129
_SPAN = 9.0


def log_evidence(statistic: float, noncentrality: float, degrees: float) -> float:
    """Natural logarithm of the likelihood ratio of a t statistic.

    statistic: sqrt(n) * mean / s, positive in the direction of the effect; noncentrality: design effect in
    sigmas * sqrt(n); degrees: of s, at least 1.
    """
    if degrees < 1:
        raise ValueError(f"degrees must be at least 1, not {degrees}")
    if noncentrality <= 0:
        return 0.0
    slope = noncentrality * statistic / math.sqrt(degrees + statistic * statistic)
    return _log_mean_exp(slope, degrees) - noncentrality * noncentrality / 2


def _log_mean_exp(slope: float, degrees: float) -> float:
    """log E[exp(slope R)] for R chi-distributed with degrees + 1, by the trapezoidal rule around its peak."""
    peak = (slope + math.sqrt(slope * slope + 4 * degrees)) / 2
    width = 1 / math.sqrt(degrees / peak**2 + 1)
    low, high = max(peak - _SPAN * width, peak * 1e-9), peak + _SPAN * width
    step = (high - low) / (_NODES - 1)
    top = degrees * math.log(peak) - peak * peak / 2 + slope * peak
    area = 0.0
    for index in range(_NODES):
        r = low + index * step
        weight = 0.5 if index in (0, _NODES - 1) else 1.0
        area += weight * math.exp(degrees * math.log(r) - r * r / 2 + slope * r - top)
    norm = (degrees - 1) / 2 * math.log(2) + math.lgamma((degrees + 1) / 2)
    return top + math.log(area * step) - norm
