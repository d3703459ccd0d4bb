"""Noise from replicates and pairs: what counts, what does not, and what it converges to."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.judging.noise import NoiseEstimate, estimate_noise

REPLICATES = [1.00, 1.02, 0.98, 1.01, 0.99]
scores = st.floats(0.5, 5.0)


def spread_of(replicates: list[float]) -> float:
    return math.sqrt(2) * float(np.std(replicates, ddof=1))


def test_replicates_alone_bound_the_difference() -> None:
    noise = estimate_noise(REPLICATES)
    assert noise.sigma == pytest.approx(spread_of(REPLICATES))
    assert (noise.degrees, noise.pair_degrees, noise.replicates) == (4, 0, 5)


def test_nothing_measured_is_nothing_known() -> None:
    assert estimate_noise([1.0]) == NoiseEstimate(0.0, 0.0, 0.0, 1)
    assert estimate_noise([1.0]).interval() == (0.0, math.inf)
    assert estimate_noise([]).relative_error == math.inf


def test_few_pairs_do_not_move_the_bound() -> None:
    few = estimate_noise(REPLICATES, [[0.001, -0.001], [0.0, 0.002, 0.001]])
    assert few.sigma == pytest.approx(spread_of(REPLICATES))
    assert few.pair_degrees == 3


def test_pairs_take_over_from_a_bound_that_is_ten_times_too_wide() -> None:
    random = np.random.default_rng(1)
    pairs = [list(random.normal(0.3, 0.002, size=3)) for _ in range(40)]
    noise = estimate_noise(REPLICATES, pairs)
    assert noise.sigma == pytest.approx(0.002, rel=0.25)
    assert noise.degrees > 10


def test_effects_of_proposals_are_not_noise() -> None:
    random = np.random.default_rng(2)
    noise = [random.normal(0, 0.002, size=3) for _ in range(30)]
    without = estimate_noise(REPLICATES, [list(values) for values in noise])
    moved = estimate_noise(REPLICATES, [list(values + 10 * i) for i, values in enumerate(noise)])
    assert moved.sigma == pytest.approx(without.sigma, rel=1e-6)


def test_proposals_of_unlike_noise_make_the_typical_value_count_for_less() -> None:
    random = np.random.default_rng(3)
    alike = [list(random.normal(0, 0.002, size=4)) for _ in range(60)]
    unlike = [list(random.normal(0, 0.002 * math.exp(random.normal()), size=4)) for _ in range(60)]
    assert estimate_noise(REPLICATES, alike).degrees > 18
    assert estimate_noise(REPLICATES, unlike).degrees < 8


def test_pairs_alone_are_enough() -> None:
    noise = estimate_noise([], [[0.01, 0.012, 0.008]] * 4)
    assert noise.sigma == pytest.approx(0.002, rel=0.4)


def test_pairs_that_are_exactly_equal_and_scores_that_are_not_finite_are_left_out() -> None:
    plain = estimate_noise(REPLICATES, [[0.1, 0.3, 0.2]] * 4)
    mixed = estimate_noise([*REPLICATES, math.nan], [[0.1, 0.3, 0.2, math.inf]] * 4 + [[0.0, 0.0]])
    assert mixed == plain


@settings(deadline=None, max_examples=25)
@given(st.lists(scores, min_size=2, max_size=8), st.randoms())
def test_the_order_of_measurements_does_not_matter(replicates: list[float], random: object) -> None:
    pairs = [[0.1, 0.2, 0.15], [0.0, -0.1], [0.3, 0.31, 0.2, 0.1], [0.02, 0.01]]
    one = estimate_noise(replicates, pairs)
    random.shuffle(replicates)  # type: ignore[attr-defined]
    other = estimate_noise(replicates, [values[::-1] for values in pairs[::-1]])
    assert other.sigma == pytest.approx(one.sigma)
    assert other.degrees == pytest.approx(one.degrees)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.01, 100.0))
def test_the_unit_does_not_matter(unit: float) -> None:
    pairs = [[0.1, 0.2, 0.15], [0.0, -0.1, 0.05], [0.3, 0.31, 0.2, 0.1]]
    one = estimate_noise(REPLICATES, pairs)
    other = estimate_noise([unit * r for r in REPLICATES], [[unit * d for d in values] for values in pairs])
    assert other.sigma == pytest.approx(unit * one.sigma)
    assert other.degrees == pytest.approx(one.degrees)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        low, high = estimate_noise(list(random.normal(1, 0.1, size=6))).interval()
        hits += low <= math.sqrt(2) * 0.1 <= high
    assert 0.92 <= hits / 400 <= 0.98
