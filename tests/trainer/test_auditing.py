"""The screen finds what the single audits find, at a fraction of their cost, and they name it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from tests.trainer.test_audit_reasons import (
    LENGTH,
    ONE_HOT,
    TABLE,
    VOCABULARY,
    mean_of_the_other_rows,
    mean_of_the_row,
    next_token,
    next_token_of_the_first_half,
    rows_above,
)
from trainer.evaluation.auditing import (
    AUDIT_ROWS,
    Scored,
    audit_first,
    audit_second,
    audited_batch_rows,
    join_audits,
    screen_second,
)
from trainer.evaluation.audits import ON_CPU, ON_GPU, AskInTurn, Tolerances, most_telling
from trainer.evaluation.scoring import token_nats
from trainer.experiment import Audit, Finding

Tokens = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Model = Callable[[Tokens], Floats]
Make = Callable[[], Model]
ROWS, BATCH, DRAWS = 64, 8, 60


class Counted:
    """A model that counts the tokens that it is asked."""

    def __init__(self, model: Model) -> None:
        self.model, self.tokens = model, 0

    def __call__(self, tokens: Tokens) -> Floats:
        self.tokens += tokens.size
        return self.model(tokens)


def honest(tokens: Tokens) -> Floats:
    return TABLE[tokens]


def pure(model: Model) -> Make:
    return lambda: model


def counts_of_all_calls() -> Model:
    """What has been scored sharpens what comes."""
    seen = np.zeros(VOCABULARY, dtype=np.float32)

    def model(tokens: Tokens) -> Floats:
        answer = TABLE[tokens] + 0.01 * seen
        np.add.at(seen, tokens.reshape(-1), 1.0)
        return np.asarray(answer, dtype=np.float32)

    return model


def sharper_each_call() -> Model:
    calls = [0]

    def model(tokens: Tokens) -> Floats:
        calls[0] += 1
        return TABLE[tokens] * np.float32(1 + 0.02 * calls[0])

    return model


def at_first_sight() -> Model:
    seen: set[bytes] = set()

    def model(tokens: Tokens) -> Floats:
        answer = TABLE[tokens]
        for row, one in enumerate(tokens):
            if one[:6].tobytes() not in seen:
                answer[row] += 5 * ONE_HOT[np.roll(one, -1)]
            seen.add(one[:6].tobytes())
        return answer

    return model


def shorter_rows(tokens: Tokens) -> Floats:
    return TABLE[tokens] * np.float32(1.0 if tokens.shape[1] == LENGTH else 0.5)


def full_batches(tokens: Tokens) -> Floats:
    """Leaks only where a batch is as large as those that are scored."""
    return next_token(tokens) if len(tokens) == BATCH else honest(tokens)


def place_in_the_batch(tokens: Tokens) -> Floats:
    return TABLE[tokens] + 0.1 * TABLE[np.arange(len(tokens))][:, None, :]


def score(first: Model, random: np.random.Generator, count: int = ROWS) -> Scored:
    rows = random.integers(0, VOCABULARY, size=(count, LENGTH + 1)).astype(np.int64)
    parts = [rows[start : start + BATCH] for start in range(0, count, BATCH)]
    nats = np.concatenate([token_nats(first(part[:, :-1]), part[:, 1:]) for part in parts])
    return Scored(rows, nats, BATCH)


def in_turn(model: Model) -> AskInTurn:
    return lambda requests: map(model, requests)


def audit_both(
    first: Model, second: Model, scored: Scored, random: np.random.Generator, allowed: Tolerances = ON_CPU
) -> list[Audit]:
    """In the order of the evaluator, which has ended the first instance before it asks the second one."""
    own = audit_first(first, scored, random, allowed)
    fresh = audit_second(second, in_turn(second), scored, random, allowed, suspicious=own.is_suspicious)
    return join_audits(own, fresh)


def audits_of(make: Make, draw: int) -> list[Audit]:
    random = np.random.default_rng(draw)
    first = make()
    scored = score(first, random)
    return audit_both(first, make(), scored, random)


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (pure(rows_above), Finding.ORDER_DEPENDENT),
        (pure(mean_of_the_other_rows), Finding.ORDER_DEPENDENT),
        (pure(place_in_the_batch), Finding.ORDER_DEPENDENT),
        (pure(next_token), Finding.NON_CAUSAL),
        (pure(next_token_of_the_first_half), Finding.NON_CAUSAL),
        (pure(mean_of_the_row), Finding.NON_CAUSAL),
        (pure(shorter_rows), Finding.PREFIX_INCONSISTENT),
        (counts_of_all_calls, Finding.STATEFUL),
        (sharper_each_call, Finding.STATEFUL),
        (at_first_sight, Finding.STATEFUL),
    ],
)
def test_every_draw_refuses_with_the_same_finding(make: Make, finding: Finding) -> None:
    found = [most_telling(audits_of(make, draw)) for draw in range(DRAWS)]
    assert {one.finding if one else None for one in found} == {finding}


def test_what_leaks_in_whole_batches_only_is_refused_at_every_draw() -> None:
    for draw in range(DRAWS):
        assert most_telling(audits_of(pure(full_batches), draw)) is not None


@pytest.mark.parametrize("leaking", range(ROWS // BATCH))
def test_no_batch_of_those_scored_is_left_out(leaking: int) -> None:
    """A second instance never comes as far as the calls in which this one looks ahead."""

    def make() -> Model:
        calls = iter(range(10 * ROWS))
        return lambda tokens: (next_token if next(calls) == leaking else honest)(tokens)

    for draw in range(DRAWS // 4):
        assert most_telling(audits_of(make, draw)) is not None


def test_of_many_rows_more_are_asked_and_those_that_gain_most_are_among_them() -> None:
    def in_few_rows(tokens: Tokens) -> Floats:
        leaks = tokens[:, 0] * VOCABULARY + tokens[:, 1] == 3
        return np.where(leaks[:, None, None], next_token(tokens) * 9, TABLE[tokens])

    def at_few_places(tokens: Tokens) -> Floats:
        leaks = (tokens == 3) & (np.roll(tokens, 1, axis=1) == 5)
        return np.where(leaks[..., None], next_token(tokens) * 9, TABLE[tokens])

    for model in (in_few_rows, at_few_places):
        for draw in range(2):
            random = np.random.default_rng(draw)
            first, second = Counted(model), Counted(model)
            scored = score(first, random, 48 * ROWS)
            assert most_telling(audit_both(first, second, scored, random)) is not None
            screened = Counted(model)
            screen_second(in_turn(screened), scored, random)
            assert screened.tokens <= (len(scored.rows) // 16 + 4) * LENGTH


def test_an_honest_model_answers_the_screen_only_and_its_cost_is_bounded() -> None:
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        first, second = Counted(honest), Counted(honest)
        scored = score(first, random)
        begin = first.tokens
        audits = audit_both(first, second, scored, random)
        assert all(audit.passed for audit in audits)
        assert [audit.name for audit in audits] == [
            "fresh",
            "cut",
            "causality",
            "prefix",
            "fewer-rows",
            "fewer-again",
        ]
        assert second.tokens + first.tokens - begin <= (BATCH + 6) * LENGTH


def test_a_leak_of_one_token_far_ahead_is_seen() -> None:
    def far(tokens: Tokens) -> Floats:
        leak = np.asarray(ONE_HOT[tokens[:, -1:]] * 2, dtype=np.float32)
        return np.asarray(TABLE[tokens] + leak, dtype=np.float32)

    for draw in range(DRAWS):
        failed = most_telling(audits_of(pure(far), draw))
        assert failed is not None
        assert failed.finding is Finding.NON_CAUSAL


def test_what_only_the_screen_catches_is_refused_with_its_finding() -> None:
    """Behaves from the second call of an instance on, whatever that is."""

    def make(leaks: int) -> Model:
        calls = [0]

        def model(tokens: Tokens) -> Floats:
            calls[0] += 1
            return next_token(tokens) if calls[0] <= leaks else honest(tokens)

        return model

    random = np.random.default_rng(1)
    scored = score(make(ROWS), random)
    audits = audit_both(make(1), make(1), scored, random)
    assert most_telling(audits) is not None


class Rounded:
    """The logits of a model as bfloat16 arithmetic leaves them on a GPU: another shape, another rounding."""

    def __init__(self, model: Model, seed: int) -> None:
        self.model, self.random = model, np.random.default_rng(seed)

    def __call__(self, tokens: Tokens) -> Floats:
        answer = self.model(tokens)
        scale = 0.001 if tokens.shape == (BATCH, LENGTH) else 0.015
        return np.asarray(answer + self.random.normal(scale=scale, size=answer.shape), dtype=np.float32)


def test_rounding_on_a_gpu_passes_and_a_leak_of_a_tenth_of_a_nat_does_not() -> None:
    def slight_leak(tokens: Tokens) -> Floats:
        return TABLE[tokens] + np.float32(0.12) * ONE_HOT[np.roll(tokens, -1, axis=1)]

    refused = 0
    for draw in range(DRAWS):
        for model in (honest, slight_leak):
            random = np.random.default_rng(draw)
            first, second = Rounded(model, 2 * draw), Rounded(model, 2 * draw + 1)
            scored = score(first, random)
            failed = most_telling(audit_both(first, second, scored, random, ON_GPU))
            refused += failed is not None
            assert failed is None or model is slight_leak
    assert refused == DRAWS


def test_nan_in_an_audit_is_not_finite() -> None:
    def broken(tokens: Tokens) -> Floats:
        answer = honest(tokens)
        answer[:, 0] = np.nan
        return answer

    random = np.random.default_rng(1)
    scored = score(honest, random)
    screen = screen_second(in_turn(broken), scored, random)
    assert next(audit.finding for audit in screen if not audit.passed) is Finding.NOT_FINITE
    for first, second in ((honest, broken), (broken, honest)):
        failed = most_telling(audit_both(first, second, scored, random))
        assert failed is not None
        assert failed.finding is Finding.NOT_FINITE


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_few_rows_are_audited_as_well(count: int) -> None:
    for draw in range(10):
        random = np.random.default_rng(draw)
        rows = random.integers(0, VOCABULARY, size=(count, LENGTH + 1)).astype(np.int64)
        nats = token_nats(honest(rows[:, :-1]), rows[:, 1:])
        for batch in (1, 4):
            audits = audit_both(honest, honest, Scored(rows, nats, batch), random)
            assert audits
            assert all(audit.passed for audit in audits)


def test_a_batch_is_a_small_part_of_all_rows() -> None:
    assert audited_batch_rows(16, 128) == 8
    assert audited_batch_rows(64, 2048) == 64
    assert audited_batch_rows(16, 10) == AUDIT_ROWS
    assert audited_batch_rows(2, 4096) == 2
