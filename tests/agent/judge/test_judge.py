"""Verdicts: what each kind of evidence leads to, and what must hold whatever the numbers are."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.judging.judge import JudgePolicy, judge
from agent.judging.noise import NoiseEstimate
from agent.verdict import Pair, Verdict

POLICY = JudgePolicy()
KNOWN = NoiseEstimate(sigma=0.01, degrees=40.0, pair_degrees=80.0, replicates=5)
BOUND = NoiseEstimate(sigma=0.03, degrees=4.0, pair_degrees=0.0, replicates=5)
offsets = st.floats(-0.2, 0.2)


def pairs_of(differences: Sequence[float], incumbent: float = 1.0) -> list[Pair]:
    return [Pair(seed, incumbent + value, incumbent) for seed, value in enumerate(differences)]


def verdict_of(
    differences: Sequence[float], noise: NoiseEstimate = KNOWN, *, simpler: bool = False, number: int = 1
) -> Verdict:
    return judge(pairs_of(differences), noise, POLICY, number=number, simpler=simpler).verdict


def test_a_clear_and_repeated_improvement_is_kept() -> None:
    judgement = judge(pairs_of([-0.03, -0.025, -0.035]), KNOWN, POLICY)
    assert judgement.verdict is Verdict.KEEP
    assert judgement.mean_difference == pytest.approx(-0.03)
    assert judgement.pairs == 3
    assert "3 pairs" in judgement.reason


def test_one_lucky_pair_is_not_enough() -> None:
    assert verdict_of([-0.02]) is Verdict.RETEST


def test_what_is_worse_goes_after_one_pair() -> None:
    assert verdict_of([0.01]) is Verdict.DISCARD


def test_an_undecided_proposal_ends_with_the_last_pair() -> None:
    doubtful = [-0.011, -0.001] * (POLICY.max_pairs // 2)
    assert verdict_of(doubtful[:-1]) is Verdict.RETEST
    judgement = judge(pairs_of(doubtful), KNOWN, POLICY)
    assert judgement.verdict is Verdict.DISCARD
    assert "not shown within 16 pairs" in judgement.reason


def test_while_the_noise_is_only_a_bound_a_proposal_gets_three_pairs() -> None:
    assert verdict_of([0.002], BOUND) is Verdict.RETEST
    assert verdict_of([0.002, 0.001], BOUND) is Verdict.RETEST
    assert verdict_of([0.002, 0.001, 0.003], BOUND) is Verdict.DISCARD


def test_plainly_worse_than_the_bound_goes_at_once() -> None:
    assert verdict_of([0.1], BOUND) is Verdict.DISCARD


def test_a_proposal_quieter_than_the_bound_can_prove_itself() -> None:
    steady = [-0.0200, -0.0203, -0.0198, -0.0201, -0.0199, -0.0202]
    assert verdict_of(steady, BOUND) is Verdict.KEEP


def test_a_keep_shown_by_the_own_pairs_names_their_error_and_not_the_loose_bound() -> None:
    differences = [-0.00034, -0.00023, -0.00032, -0.00033, -0.00039, -0.00035]
    learning = NoiseEstimate(0.054, 4.0, pair_degrees=0.0, replicates=5)
    judgement = judge(pairs_of(differences), learning, JudgePolicy())
    assert judgement.verdict is Verdict.KEEP
    assert judgement.standard_error == pytest.approx(0.00002, rel=0.2)
    assert "-0.00033 ± 0.00002" in judgement.reason


def test_a_proposal_noisier_than_the_others_is_not_kept_for_one_lucky_pair() -> None:
    assert verdict_of([-0.06, 0.05, -0.055]) is not Verdict.KEEP
    alike = NoiseEstimate(sigma=0.01, degrees=3.0, pair_degrees=80.0)
    assert verdict_of([-0.05, -0.045], alike) is Verdict.RETEST


def test_where_proposals_are_unlike_in_noise_one_pair_says_less_against_a_quiet_one() -> None:
    unlike = NoiseEstimate(sigma=0.01, degrees=4.0, pair_degrees=80.0)
    assert verdict_of([-0.003]) is Verdict.DISCARD
    assert verdict_of([-0.003], unlike) is Verdict.RETEST
    assert verdict_of([0.02], unlike) is Verdict.DISCARD


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_a_discard(score: float) -> None:
    judgement = judge([Pair(1, score, 1.0)], KNOWN, POLICY)
    assert judgement.verdict is Verdict.DISCARD
    assert "not finite" in judgement.reason


def test_no_pairs_no_verdict() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        judge([], KNOWN, POLICY)


def test_without_any_noise_estimate_it_asks_for_more() -> None:
    nothing = NoiseEstimate(0.0, 0.0)
    assert verdict_of([-0.5], nothing) is Verdict.RETEST
    assert verdict_of([-0.5 - 0.1 * i for i in range(4)], nothing) in (Verdict.RETEST, Verdict.KEEP)


def test_exactly_equal_scores_are_no_effect_and_for_simpler_code_a_tie() -> None:
    assert verdict_of([0.0]) is Verdict.DISCARD
    assert verdict_of([0.0], simpler=True) is Verdict.RETEST
    assert verdict_of([0.0, 0.0], simpler=True) is Verdict.EQUIVALENT


def test_simpler_code_that_is_about_equal_is_equivalent_and_other_code_is_not() -> None:
    about_equal = [0.001, -0.002, 0.0005, -0.001, 0.002, -0.0015, 0.001, -0.001, 0.0, 0.001]
    assert verdict_of(about_equal, simpler=True) is Verdict.EQUIVALENT
    assert verdict_of(about_equal) is Verdict.DISCARD


def test_simpler_code_that_is_clearly_worse_is_discarded() -> None:
    assert verdict_of([0.02, 0.025, 0.022], simpler=True) is Verdict.DISCARD


def test_nothing_is_called_equivalent_while_the_noise_is_only_a_bound() -> None:
    assert verdict_of([0.001, -0.001] * 8, BOUND, simpler=True) is not Verdict.EQUIVALENT


def test_each_equivalent_halves_the_margin_of_the_next() -> None:
    pairs = pairs_of([0.001, -0.002, 0.0005, -0.001, 0.002, -0.0015, 0.001, -0.001, 0.0, 0.001])
    verdicts = [judge(pairs, KNOWN, POLICY, simpler=True, equivalents=count).verdict for count in (0, 3)]
    assert verdicts[0] is Verdict.EQUIVALENT
    assert verdicts[1] is not Verdict.EQUIVALENT


def test_the_levels_of_all_proposals_for_ever_add_up_to_the_session_rate() -> None:
    total = math.fsum(POLICY.level(number) for number in range(1, 200_001))
    assert total < POLICY.false_keep_rate
    assert total == pytest.approx(POLICY.false_keep_rate, rel=1e-3)
    with pytest.raises(ValueError, match="from 1"):
        POLICY.level(0)


def test_late_proposals_need_more_evidence() -> None:
    pairs = [-0.033, -0.027, -0.030]
    assert verdict_of(pairs, number=1) is Verdict.KEEP
    assert verdict_of(pairs, number=100_000) is Verdict.RETEST


@settings(deadline=None, max_examples=40)
@given(st.lists(offsets, min_size=1, max_size=16), st.floats(0.0, 0.1))
def test_being_better_on_every_seed_never_loses_a_keep(values: list[float], gain: float) -> None:
    if verdict_of(values) is Verdict.KEEP:
        assert verdict_of([value - gain for value in values]) is Verdict.KEEP


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.0, 0.2), min_size=1, max_size=16))
def test_what_was_never_better_is_never_kept(values: list[float]) -> None:
    for noise in (KNOWN, BOUND):
        assert verdict_of(values, noise) is not Verdict.KEEP


@settings(deadline=None, max_examples=40)
@given(st.lists(offsets, min_size=2, max_size=10), st.randoms())
def test_the_order_of_pairs_does_not_matter(values: list[float], random: object) -> None:
    before = judge(pairs_of(values), KNOWN, POLICY)
    random.shuffle(values)  # type: ignore[attr-defined]
    after = judge(pairs_of(values), KNOWN, POLICY)
    assert before.verdict is after.verdict
    assert after.mean_difference == pytest.approx(before.mean_difference, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.lists(offsets, min_size=1, max_size=16), st.booleans(), st.sampled_from([KNOWN, BOUND]))
def test_it_always_answers_and_the_last_pair_always_decides(
    values: list[float], simpler: bool, noise: NoiseEstimate
) -> None:
    judgement = judge(pairs_of(values), noise, POLICY, simpler=simpler)
    assert judgement.verdict in (Verdict.KEEP, Verdict.EQUIVALENT, Verdict.DISCARD, Verdict.RETEST)
    if len(values) == POLICY.max_pairs:
        assert judgement.verdict is not Verdict.RETEST
    if judgement.verdict is Verdict.EQUIVALENT:
        assert simpler
