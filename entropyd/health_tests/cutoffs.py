"""Exact cutoffs of the two continuous tests of NIST SP 800-90B section 4.4, in whole numbers throughout.

Probabilities are fixed-point integers of 1,200 bits: binomial coefficients reach 2^511, so errors stay
below 2^-600 and no float can move a cutoff.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import ceil

_SCALE_BITS = 1200
APT_WINDOW = 512  # samples that are not binary


def repetition_cutoff(min_entropy: Fraction, alpha_bits: int) -> int:
    """C = 1 + ⌈−log2 α / H⌉: a value seen C times in a row is an alarm, a false one with probability
    α = 2^-alpha_bits per sample. `min_entropy` is H in bits per sample, above 0."""
    return 1 + ceil(Fraction(alpha_bits) / min_entropy)


@lru_cache(maxsize=64)
def adaptive_cutoff(min_entropy: Fraction, alpha_bits: int, window: int = APT_WINDOW) -> int:
    """C = 2 + the 1 − α quantile of Binomial(window − 1, 2^-H): the corrected form, which counts the first
    sample of the window, always equal to itself, apart."""
    return 2 + _upper_quantile(window - 1, min_entropy, alpha_bits)


def _upper_quantile(trials: int, min_entropy: Fraction, alpha_bits: int) -> int:
    """The smallest k with P(X ≤ k) ≥ 1 − 2^-alpha_bits, X of Binomial(trials, 2^-min_entropy)."""
    one = 1 << _SCALE_BITS
    success = _power_of_two(-min_entropy)
    failure = one - success
    successes, failures = [one], [one]
    for _ in range(trials):
        successes.append(successes[-1] * success >> _SCALE_BITS)
        failures.append(failures[-1] * failure >> _SCALE_BITS)
    limit = one >> alpha_bits
    tail, ways = 0, 1  # ways = C(trials, k), from the top: k = trials, trials − 1, …
    for k in range(trials, 0, -1):
        tail += ways * (successes[k] * failures[trials - k] >> _SCALE_BITS)
        if tail > limit:
            return k
        ways = ways * k // (trials - k + 1)
    return 0


def _power_of_two(exponent: Fraction) -> int:
    """2^exponent as a fixed-point number with 1,200 fraction bits, for exponent ≤ 0; rounded up."""
    degree = exponent.denominator
    radicand = 1 << (_SCALE_BITS * degree + exponent.numerator)
    low, high = 0, 1 << _SCALE_BITS
    while low < high:  # the smallest x with x^degree ≥ radicand
        middle = (low + high) // 2
        if middle**degree >= radicand:
            high = middle
        else:
            low = middle + 1
    return low
