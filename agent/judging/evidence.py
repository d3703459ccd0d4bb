"""Sequential evidence for an effect of known direction when the noise is itself an estimate.

The quantity is the likelihood ratio of the t statistic: noncentral t (the design effect) over central t
(no effect). The t statistic does not depend on the unit of the noise, so the ratio is an e-process for
"no effect or worse" whatever sigma truly is: it may be looked at after every pair, and exceeds 1 / alpha
at any time with probability at most alpha (Ville's inequality). With many degrees of freedom it is Wald's
sequential probability ratio.

Source of the form used here: for T = Z / sqrt(chi2_k / k), f(T | ncp) / f(T | 0) =
exp(-ncp^2 / 2) E[exp(x R)], R chi-distributed with k + 1 degrees of freedom, x = ncp T / sqrt(k + T^2).

All functions take arrays of one shape, or single numbers, and work element by element.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_NODES = 65
_SPAN = 7.0
_OFFSETS = np.linspace(-1.0, 1.0, _NODES)
_WEIGHTS = np.where(np.abs(_OFFSETS) == 1.0, 0.5, 1.0)


def log_evidence(statistic: npt.ArrayLike, noncentrality: npt.ArrayLike, degrees: npt.ArrayLike) -> Array:
    """Natural logarithm of the likelihood ratio of t statistics.

    statistic: sqrt(n) * mean / s, positive in the direction of the effect; noncentrality: design effect in
    sigmas * sqrt(n), not negative; degrees: of s, at least 1.
    """
    t, ncp, k = (np.asarray(value, dtype=np.float64) for value in (statistic, noncentrality, degrees))
    slope = ncp * t / np.sqrt(k + t * t)
    return _log_mean_exp(slope, k) - ncp * ncp / 2


def log_gamma(x: npt.ArrayLike) -> Array:
    """log Gamma for x > 0: Stirling's series after shifting x above 8; error below 1e-12."""
    z = np.asarray(x, dtype=np.float64)
    shift = np.zeros_like(z)
    for step in range(8):
        shift = shift + np.log(z + step)
    z = z + 8
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * z * z)) / (z * z)) / (z * z)) / z
    result: Array = (z - 0.5) * np.log(z) - z + 0.5 * np.log(2 * np.pi) + series - shift
    return result


def _log_mean_exp(slope: Array, degrees: Array) -> Array:
    """log E[exp(slope R)] for R chi-distributed with degrees + 1, by the trapezoidal rule around its peak."""
    peak = (slope + np.sqrt(slope * slope + 4 * degrees)) / 2
    width = _SPAN / np.sqrt(degrees / peak**2 + 1)
    low, high = np.maximum(peak - width, peak * 1e-9), peak + width
    middle, half = (low + high) / 2, (high - low) / 2
    r = middle[..., None] + half[..., None] * _OFFSETS
    top = degrees * np.log(peak) - peak * peak / 2 + slope * peak
    height = degrees[..., None] * np.log(r) - r * r / 2 + slope[..., None] * r - top[..., None]
    area = np.exp(height) @ _WEIGHTS * half * (2 / (_NODES - 1))
    norm = (degrees - 1) / 2 * np.log(2) + log_gamma((degrees + 1) / 2)
    result: Array = top + np.log(area) - norm
    return result
