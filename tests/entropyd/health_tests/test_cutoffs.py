"""Cutoffs against known values and against a recomputation in 400 decimal digits."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest

from entropyd.health_tests.cutoffs import adaptive_cutoff, repetition_cutoff

ENTROPIES = [Fraction(text) for text in ("0.1", "0.25", "0.3", "0.5", "1", "1.36", "2", "3", "6")]
ALPHAS = (20, 30, 40, 60)


@pytest.mark.parametrize(
    ("entropy", "alpha_bits", "repetition", "proportion"),
    [
        ("1", 20, 21, 311),
        ("1", 30, 31, 325),  # jitterentropy's 325
        ("1", 40, 41, 337),
        ("0.5", 20, 41, 411),  # Go's 41 and 410 + 1 (corrected form)
        ("0.5", 30, 61, 422),  # jitterentropy's 422
        ("0.5", 40, 81, 432),
        ("0.1", 20, 201, 502),
        ("0.1", 30, 301, 507),
        ("0.1", 40, 401, 510),
        ("2", 20, 11, 178),
        ("2", 30, 16, 191),
        ("2", 40, 21, 202),
    ],
)
def test_known_cutoffs(entropy: str, alpha_bits: int, repetition: int, proportion: int) -> None:
    assert repetition_cutoff(Fraction(entropy), alpha_bits) == repetition
    assert adaptive_cutoff(Fraction(entropy), alpha_bits) == proportion


@pytest.mark.parametrize("entropy", ENTROPIES, ids=str)
def test_cutoffs_equal_a_recomputation_in_400_digits(entropy: Fraction) -> None:
    with mpmath.workdps(400):
        share = mpmath.power(2, -mpmath.mpf(entropy.numerator) / entropy.denominator)
        below, quantile = mpmath.mpf(0), -1
        for alpha_bits in ALPHAS:
            runs = mpmath.ceil(mpmath.mpf(alpha_bits) * entropy.denominator / entropy.numerator)
            assert repetition_cutoff(entropy, alpha_bits) == 1 + int(runs)
            while below < 1 - mpmath.mpf(2) ** -alpha_bits:  # from the bottom; the product comes from the top
                quantile += 1
                ways = mpmath.binomial(511, quantile)
                below += ways * share**quantile * (1 - share) ** (511 - quantile)
            assert adaptive_cutoff(entropy, alpha_bits) == 2 + quantile


def test_the_uncorrected_cutoff_of_the_text_is_gos_410() -> None:
    with mpmath.workdps(60):
        share, below, k = mpmath.sqrt(mpmath.mpf("0.5")), mpmath.mpf(0), -1
        while below < 1 - mpmath.mpf(2) ** -20:
            k += 1
            below += mpmath.binomial(512, k) * share**k * (1 - share) ** (512 - k)
    assert 1 + k == 410
    assert adaptive_cutoff(Fraction(1, 2), 20) == 411  # ours counts the first sample apart
