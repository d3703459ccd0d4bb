"""The Weber bracket over term overlaps."""

from __future__ import annotations

import pytest

from memoryd.dreams.skg import RING, Skg, jaccard, motion_of


def test_bracket_goldens() -> None:
    rising = motion_of([(1, 0.1), (2, 0.2), (3, 0.4)])
    assert rising.velocity == pytest.approx(0.2)
    assert rising.acceleration == pytest.approx(0.1)
    assert rising.weber_bracket == pytest.approx(0.08)
    assert motion_of([(1, 0.95), (2, 0.90), (3, 0.50)]).weber_bracket == pytest.approx(-0.015)


def test_a_bracket_needs_three_observations() -> None:
    assert motion_of([(1, 0.1)]).velocity is None
    assert motion_of([(1, 0.1), (3, 0.2)]).velocity == pytest.approx(0.05)
    assert motion_of([(1, 0.1), (2, 0.2)]).weber_bracket is None


def test_pairs_are_observed_in_a_ring_and_forgotten_after_32_ticks() -> None:
    skg = Skg()
    for size in range(20):
        members = {"a": frozenset(range(20)), "b": frozenset(range(size + 1))}
        skg, report = skg.observed(members)
    assert (skg.tick, report.sampled, report.tracked) == (20, 1, 1)
    assert len(skg.pairs["a", "b"]) == RING
    assert Skg.from_json(skg.to_json()) == skg
    for _ in range(33):
        skg, report = skg.observed({"c": frozenset({1}), "d": frozenset({1})})
    assert list(skg.pairs) == [("c", "d")]


def test_without_keystones_only_the_tick_moves() -> None:
    skg, report = Skg().observed({})
    assert (skg.tick, report.sampled, report.tracked) == (1, 0, 0)


def test_emerging_pairs_come_with_the_largest_bracket_first() -> None:
    skg = Skg()
    for step in (1, 2, 4):
        skg, report = skg.observed(
            {
                "a": frozenset(range(10)),
                "b": frozenset(range(step)),
                "c": frozenset(range(2 * step)),
            }
        )
    assert report.emerging[0] == ("a", "c")
    assert set(report.emerging) | set(report.decaying) <= {("a", "b"), ("a", "c"), ("b", "c")}
    assert jaccard(frozenset(), frozenset()) == 0.0
