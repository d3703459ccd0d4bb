"""Best-fit packing: every row full, begins with BOS, nothing invented."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.packing import Tokens, pack_rows, split_long

BOS = 9


def document(*tokens: int) -> Tokens:
    return np.array([BOS, *tokens], dtype=np.uint16)


def test_the_largest_that_fits_is_taken_first() -> None:
    documents = [document(1), document(2, 2, 2), document(3, 3)]
    (row,) = pack_rows(documents, 7, buffered=3)
    assert row.tolist() == [BOS, 2, 2, 2, BOS, 3, 3]


def test_when_none_fits_the_shortest_is_cropped() -> None:
    documents = [document(*[1] * 9), document(*[2] * 5), document(3, 3)]
    (first, *_) = pack_rows(documents, 5, buffered=3)
    assert first.tolist() == [BOS, 3, 3, BOS, 2]


def test_what_cannot_fill_a_row_is_left_out() -> None:
    assert list(pack_rows([document(1)], 8)) == []
    assert list(pack_rows([], 8)) == []


def test_splitting_keeps_every_token_of_a_long_document() -> None:
    pieces = list(split_long([document(*range(1, 8))], BOS, 4))
    assert [p.tolist() for p in pieces] == [[BOS, 1, 2, 3], [BOS, 4, 5, 6], [BOS, 7]]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 8), max_size=30), max_size=40), st.integers(2, 17), st.integers(1, 12)
)
def test_rows_are_full_and_made_of_document_beginnings(
    bodies: list[list[int]], row_length: int, buffered: int
) -> None:
    documents = [document(*body) for body in bodies]
    rows = list(pack_rows(documents, row_length, buffered))
    available = Counter(tuple(d.tolist()) for d in documents)
    for row in rows:
        assert len(row) == row_length
        starts = [*np.nonzero(row == BOS)[0].tolist(), row_length]
        assert starts[0] == 0
        for start, end in pairwise(starts):
            part = tuple(row[start:end].tolist())
            if end < row_length:
                assert part in available  # only the last document of a row may be cropped
            else:
                assert any(whole[: len(part)] == part for whole in available)
    assert sum(len(r) for r in rows) <= sum(len(d) for d in documents)
