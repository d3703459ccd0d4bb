"""The finding that an audit names does not depend on which rows, cuts or order were drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from trainer.evaluation.audits import audit_instance, most_telling
from trainer.experiment import Audit, Finding

VOCABULARY, LENGTH, DRAWS = 8, 24, 200
TABLE = np.random.default_rng(5).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)
ONE_HOT = np.eye(VOCABULARY, dtype=np.float32)
Tokens = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Model = Callable[[Tokens], Floats]


def rows_above(tokens: Tokens) -> Floats:
    counts = np.cumsum(ONE_HOT[tokens].sum(1), axis=0)
    before = np.concatenate([np.zeros_like(counts[:1]), counts[:-1]])
    return (TABLE[tokens] + 0.1 * before[:, None, :]).astype(np.float32)


def mean_of_the_other_rows(tokens: Tokens) -> Floats:
    """The order of the rows does not matter to it, what they hold does."""
    bags = ONE_HOT[tokens].mean(1)
    others = (bags.sum(0, keepdims=True) - bags) / max(len(bags) - 1, 1)
    return np.asarray(TABLE[tokens] + others[:, None, :], dtype=np.float32)


def next_token_of_the_first_half(tokens: Tokens) -> Floats:
    leak = 5 * ONE_HOT[np.roll(tokens, -1, axis=1)]
    leak[:, tokens.shape[1] // 2 :] = 0
    return TABLE[tokens] + leak


def next_token(tokens: Tokens) -> Floats:
    return TABLE[tokens] + 0.5 * ONE_HOT[np.roll(tokens, -1, axis=1)]


def mean_of_the_row(tokens: Tokens) -> Floats:
    return np.asarray(TABLE[tokens] + 20 * ONE_HOT[tokens].mean(1, keepdims=True), dtype=np.float32)


def audits_of(model: Model, draw: int) -> list[Audit]:
    random = np.random.default_rng(draw)
    rows, others = random.integers(0, VOCABULARY, size=(2, 4, LENGTH)).astype(np.int64)
    return list(audit_instance(model, rows, others, random))


@pytest.mark.parametrize(
    ("model", "finding"),
    [
        (rows_above, Finding.ORDER_DEPENDENT),
        (mean_of_the_other_rows, Finding.ORDER_DEPENDENT),
        (next_token_of_the_first_half, Finding.NON_CAUSAL),
        (next_token, Finding.NON_CAUSAL),
        (mean_of_the_row, Finding.NON_CAUSAL),
    ],
)
def test_every_draw_names_the_same_finding(model: Model, finding: Finding) -> None:
    found = [most_telling(audits_of(model, draw)) for draw in range(DRAWS)]
    assert {one.finding if one else None for one in found} == {finding}


def test_what_remembers_is_called_stateful_also_where_causality_fails_first() -> None:
    """Cheats at first sight of a row's beginning, and had seen those of the first audits already."""
    for draw in range(DRAWS):
        seen: set[bytes] = set()

        def at_first_sight(tokens: Tokens, seen: set[bytes] = seen) -> Floats:
            answer = TABLE[tokens]
            for row, one in enumerate(tokens):
                key = one[:6].tobytes()
                if key not in seen:
                    answer[row] += 5 * ONE_HOT[np.roll(one, -1)]
                seen.add(key)
            return answer

        failed = most_telling(audits_of(at_first_sight, draw))
        assert failed is not None
        assert failed.finding is Finding.STATEFUL


def test_the_most_telling_finding_is_named() -> None:
    audits = [
        Audit("steps", True),
        Audit("causality", False, finding=Finding.NON_CAUSAL),
        Audit("prefix", False, finding=Finding.PREFIX_INCONSISTENT),
        Audit("again", False, finding=Finding.STATEFUL),
    ]
    assert most_telling(audits) is audits[3]
    assert most_telling(audits[:3]) is audits[1]
    assert most_telling(audits[:1]) is None


@pytest.mark.parametrize("count", [1, 2])
def test_a_small_validation_set_is_audited_as_well(count: int) -> None:
    for draw in range(20):
        random = np.random.default_rng(draw)
        rows, others = random.integers(0, VOCABULARY, size=(2, count, LENGTH)).astype(np.int64)
        audits = list(audit_instance(lambda tokens: TABLE[tokens], rows, others, random))
        assert all(audit.passed for audit in audits)
