"""Fusion of arms."""

from __future__ import annotations

import pytest

from memoryd.retrieval.fusion import Arm, hybrid_probability, hybrid_ranking, reciprocal_ranking


def test_the_contracted_hybrid_goldens() -> None:
    without_vectors = hybrid_ranking({2: 0.6061, 1: 0.3770}, {})
    assert [(i, round(p, 4)) for i, p in without_vectors] == [(2, 0.2925), (1, 0.2059)]
    assert round(hybrid_probability(0.60611, 0.8), 4) == 0.7882
    assert round(hybrid_probability(None, 0.2), 4) == 0.2899


def test_the_weight_moves_between_the_sides() -> None:
    assert hybrid_probability(0.7, -0.2, weight=0.0) == pytest.approx(0.7)
    assert hybrid_probability(0.7, -0.2, weight=1.0) == pytest.approx(0.4)


def test_certain_sides_stay_finite() -> None:
    assert 0.0 < hybrid_probability(1.0, 1.0) < 1.0 + 1e-12
    assert 0.0 <= hybrid_probability(0.0, -1.0) < 1e-9


def test_textbook_reciprocal_rank_fusion() -> None:
    fused = reciprocal_ranking([Arm("bm25", [1, 2]), Arm("vector", [2, 3])])
    assert fused == [
        (2, pytest.approx(1 / 62 + 1 / 61)),
        (1, pytest.approx(1 / 61)),
        (3, pytest.approx(1 / 62)),
    ]


def test_equal_votes_come_by_ascending_id() -> None:
    assert [i for i, _ in reciprocal_ranking([Arm("a", [5]), Arm("b", [4])])] == [4, 5]
