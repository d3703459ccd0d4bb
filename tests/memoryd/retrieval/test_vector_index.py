"""Exact nearest vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryd.memory import pack_vector
from memoryd.retrieval.vector_index import VectorIndex


def test_orders_by_cosine_and_keeps_id_order_in_ties() -> None:
    index = VectorIndex()
    for memory_id, vector in {5: [1, 0], 3: [2, 0], 4: [0, 1], 9: [0, 0]}.items():
        index.add(memory_id, vector)
    assert index.nearest_cosine([1, 0], 10) == [(3, 1.0), (5, 1.0), (4, 0.0), (9, 0.0)]
    assert [memory_id for memory_id, _ in index.nearest_cosine([1, 0], 2)] == [3, 5]


def test_l2_ranks_by_negative_distance() -> None:
    index = VectorIndex()
    index.add(1, pack_vector([0, 0]))
    index.add(2, pack_vector([3, 4]))
    assert index.nearest_l2([0, 0], 5) == [(1, 0.0), (2, -5.0)]


def test_another_dimension_is_refused_on_add_and_skipped_on_search() -> None:
    index = VectorIndex()
    index.add(1, [1, 0, 0])
    with pytest.raises(ValueError, match="expected 3, got 2"):
        index.add(2, [1, 0])
    assert index.nearest_cosine([1, 0], 5) == []
    assert index.nearest_l2([1, 0], 5) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.none() | st.lists(st.integers(-3, 3), min_size=2, max_size=2)),
        max_size=200,
    )
)
def test_any_history_answers_as_a_plain_dictionary(history: list[tuple[int, list[int] | None]]) -> None:
    index, plain = VectorIndex(), dict[int, list[int]]()
    for memory_id, vector in history:
        if vector is None:
            index.remove(memory_id)
            plain.pop(memory_id, None)
        else:
            index.add(memory_id, vector)
            plain[memory_id] = vector
    ids, rows = index.matrix()
    assert dict(zip(ids.tolist(), rows.tolist(), strict=True)) == plain
    expected = sorted(
        (-(np.dot(v, (1, 2)) / (np.linalg.norm(v) * 5**0.5) if any(v) else 0.0), i) for i, v in plain.items()
    )
    found = index.nearest_cosine([1, 2], 99)
    assert [cosine for _, cosine in found] == pytest.approx([-c for c, _ in expected], abs=1e-6)
