"""The likelihood ratio of t statistics, against a reference in high precision and against its own promise."""

import math

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.judging.evidence import log_evidence, log_gamma


def reference(statistic: float, noncentrality: float, degrees: float) -> float:
    """exp(-ncp^2/2) E[exp(x R)] by quadrature in 25 digits."""
    with mpmath.workdps(25):
        t, ncp, k = mpmath.mpf(statistic), mpmath.mpf(noncentrality), mpmath.mpf(degrees)
        x = ncp * t / mpmath.sqrt(k + t * t)
        norm = mpmath.mpf(2) ** ((k - 1) / 2) * mpmath.gamma((k + 1) / 2)
        peak = (x + mpmath.sqrt(x * x + 4 * k)) / 2
        area = mpmath.quad(
            lambda r: r**k * mpmath.exp(-r * r / 2 + x * r), [0, peak / 2, peak, peak + 3, peak + 12]
        )
        return float(mpmath.log(area / norm) - ncp**2 / 2)


@pytest.mark.parametrize("degrees", [4.5, 60])
@pytest.mark.parametrize("statistic", [-4.0, 1.3, 9.0])
@pytest.mark.parametrize("noncentrality", [0.5, 8.8])
def test_it_is_the_ratio_of_noncentral_to_central_t(
    degrees: float, statistic: float, noncentrality: float
) -> None:
    exact = reference(statistic, noncentrality, degrees)
    assert float(log_evidence(statistic, noncentrality, degrees)) == pytest.approx(exact, abs=2e-4)


def test_with_many_degrees_it_is_walds_ratio() -> None:
    assert float(log_evidence(3.0, 2.0, 1e7)) == pytest.approx(2.0 * 3.0 - 2.0, abs=1e-4)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 300.0))
def test_log_gamma_agrees_with_the_library(x: float) -> None:
    assert float(log_gamma(x)) == pytest.approx(math.lgamma(x), abs=1e-10, rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(st.floats(-20, 20), st.floats(0.01, 3), st.floats(0.1, 9), st.floats(1, 100))
def test_a_larger_statistic_is_never_weaker_evidence(
    statistic: float, more: float, noncentrality: float, degrees: float
) -> None:
    low, high = log_evidence([statistic, statistic + more], [noncentrality] * 2, [degrees] * 2)
    assert high >= low - 1e-9


@pytest.mark.parametrize("degrees", [1, 4, 30])
def test_without_an_effect_it_crosses_one_over_alpha_less_often_than_alpha(degrees: int) -> None:
    """Ville's inequality over eight looks, sigma estimated once from `degrees` normal deviates."""
    random = np.random.default_rng(degrees)
    sessions, looks, alpha = 20_000, 8, 0.05
    variance = (random.normal(size=(sessions, degrees)) ** 2).mean(axis=1)
    values = random.normal(size=(sessions, looks))
    crossed = np.zeros(sessions, dtype=bool)
    for count in range(1, looks + 1):
        mean = values[:, :count].mean(axis=1)
        own = np.square(values[:, :count] - mean[:, None]).sum(axis=1)
        total = np.full(sessions, degrees + count - 1.0)
        deviation = np.sqrt((degrees * variance + own) / total)
        evidence = log_evidence(
            -mean * math.sqrt(count) / deviation, np.full(sessions, 2.2 * count**0.5), total
        )
        crossed |= evidence >= -math.log(alpha)
    assert 0.002 < crossed.mean() < alpha
