"""The evaluator's arithmetic and audits, with models that are plain functions of tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.audits import EXACT, audit_instance, compare
from trainer.evaluation.job import EvaluationJob, parse_job
from trainer.evaluation.scoring import Tally, bits_per_byte, log_probabilities, token_nats
from trainer.evaluation.training_rows import rows_checksum
from trainer.experiment import Finding
from trainer.sample_text import pick

VOCABULARY, LENGTH = 32, 24
TABLE = np.random.default_rng(5).normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32)
Tokens = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def bigram(tokens: Tokens) -> Floats:
    return TABLE[tokens]


def make_rows(seed: int, count: int = 4) -> Tokens:
    return np.random.default_rng(seed).integers(0, VOCABULARY, size=(count, LENGTH)).astype(np.int64)


def findings(model: Callable[[Tokens], Floats]) -> list[tuple[str, Finding | None]]:
    audits = audit_instance(model, make_rows(1), make_rows(2), np.random.default_rng(3))
    return [(audit.name, audit.finding) for audit in audits if not audit.passed]


def test_nats_equal_the_definition_in_double_precision() -> None:
    logits = np.random.default_rng(1).normal(scale=5, size=(3, 7, VOCABULARY)).astype(np.float32)
    targets = np.random.default_rng(2).integers(0, VOCABULARY, size=(3, 7)).astype(np.int64)
    exact = logits.astype(np.float64)
    expected = np.log(np.exp(exact).sum(-1)) - np.take_along_axis(exact, targets[..., None], -1)[..., 0]
    assert np.abs(token_nats(logits, targets) - expected).max() < 1e-5


@given(st.floats(-1e4, 1e4), st.integers(0, 2**32 - 1))
def test_a_constant_added_to_all_logits_changes_nothing(shift: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(1, 4, VOCABULARY)).astype(np.float32)
    targets = random.integers(0, VOCABULARY, size=(1, 4)).astype(np.int64)
    shifted = (logits + np.float32(shift)).astype(np.float32)
    tolerance = 4e-3 if abs(shift) > 100 else 1e-3
    assert np.abs(token_nats(shifted, targets) - token_nats(logits, targets)).max() < tolerance


@pytest.mark.parametrize("scored_by", ["numpy", "torch"])
def test_however_vast_the_logits_are_probabilities_sum_to_one(scored_by: str) -> None:
    """Beside 1e9 the logarithm of the sum is lost in float32: equal logits would all be certain."""
    torch = pytest.importorskip("torch")
    targets = np.arange(VOCABULARY, dtype=np.int64)[None]
    random = np.random.default_rng(8)
    for vast in (0.0, 1e4, 1e7, 1e9, 1e20, 3e38, -1e9, -3e38):
        one = (random.normal(size=VOCABULARY) + vast).astype(np.float32)
        for logits in (np.full(VOCABULARY, vast, dtype=np.float32), one):
            same = np.broadcast_to(logits, (1, VOCABULARY, VOCABULARY)).copy()
            scores = torch.from_numpy(same) if scored_by == "torch" else same
            nats = token_nats(scores, targets)
            assert nats.min() >= 0
            assert np.exp(-nats.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
            apart = np.asarray(log_probabilities(scores))[0, 0]
            assert np.abs(apart + nats[0]).max() < 1e-4


def test_log_probabilities_sum_to_one() -> None:
    found = log_probabilities(TABLE[None])
    assert np.abs(np.exp(found.astype(np.float64)).sum(-1) - 1).max() < 1e-5


def test_targets_without_bytes_count_in_neither_sum() -> None:
    tally = Tally()
    nats = np.array([[1.0, 2.0, 4.0]], dtype=np.float32)
    exact, legacy = np.array([[3, 0, 1]], dtype=np.int32), np.array([[3, 0, 3]], dtype=np.int32)
    tally.add(nats, exact, legacy)
    assert (tally.nats, tally.bytes, tally.legacy_bytes, tally.tokens) == (5.0, 4, 6, 3)
    assert bits_per_byte(tally.nats, tally.bytes) == pytest.approx(5 / (4 * math.log(2)))
    assert math.isnan(bits_per_byte(1.0, 0))


def test_an_honest_model_passes_every_audit() -> None:
    assert findings(bigram) == []
    audits = list(audit_instance(bigram, make_rows(1), make_rows(2), np.random.default_rng(3)))
    names = ["repeat", "order", "causality", "causality-late", "prefix", "fewer-rows"]
    assert [audit.name for audit in audits] == names


def test_rounding_like_bfloat16_passes_the_audits_of_other_shapes() -> None:
    noise = np.random.default_rng(9)

    def rounded(tokens: Tokens) -> Floats:
        answer = bigram(tokens)
        other_shape = tokens.shape != (4, LENGTH)
        return (answer + noise.normal(scale=3e-4, size=answer.shape) * other_shape).astype(np.float32)

    assert findings(rounded) == []


def test_the_future_is_found() -> None:
    def roll(tokens: Tokens) -> Floats:
        return bigram(tokens) + 0.5 * np.eye(VOCABULARY, dtype=np.float32)[np.roll(tokens, -1, axis=1)]

    assert ("causality", Finding.NON_CAUSAL) in findings(roll)


def test_the_far_future_is_found() -> None:
    def last(tokens: Tokens) -> Floats:
        return bigram(tokens) + 0.5 * TABLE[tokens[:, -1:]]

    assert ("causality", Finding.NON_CAUSAL) in findings(last)


def test_memory_between_calls_is_found() -> None:
    calls = [0]

    def counting(tokens: Tokens) -> Floats:
        calls[0] += 1
        return bigram(tokens) * np.float32(1 + 0.01 * calls[0])

    assert ("repeat", Finding.STATEFUL) in findings(counting)


def test_the_place_in_the_batch_is_found() -> None:
    def placed(tokens: Tokens) -> Floats:
        return bigram(tokens) + 0.1 * TABLE[np.arange(len(tokens))][:, None, :]

    assert findings(placed) == [("order", Finding.ORDER_DEPENDENT)]


def test_another_answer_for_shorter_rows_is_found() -> None:
    def by_length(tokens: Tokens) -> Floats:
        return bigram(tokens) * np.float32(1.0 if tokens.shape[1] == LENGTH else 0.5)

    assert findings(by_length) == [("prefix", Finding.PREFIX_INCONSISTENT)]


def test_other_rows_of_the_batch_are_found() -> None:
    def shared(tokens: Tokens) -> Floats:
        answer = bigram(tokens)
        return np.asarray(answer + 0.2 * answer.mean(axis=(0, 1), keepdims=True))

    assert ("causality", Finding.NON_CAUSAL) in findings(shared)


def test_nan_differences_never_pass() -> None:
    zero, nan = np.zeros((1, 2), dtype=np.float32), np.full((1, 2), np.nan, dtype=np.float32)
    assert not compare("x", Finding.STATEFUL, zero, nan, EXACT).passed


def test_the_checksum_of_training_rows_is_the_loaders(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from trainer.harness.loader import TokenLoader, open_train_rows

    rows = np.random.default_rng(4).integers(0, 500, size=(37, 9)).astype(np.uint16)
    rows[:20].tofile(tmp_path / "rows_00000.bin")
    rows[20:].tofile(tmp_path / "rows_00001.bin")
    files = ["rows_00000.bin", "rows_00001.bin"]
    fields = {"files": files, "rows": 37, "context_length": 8, "vocab_size": 500, "bos": 0}
    (tmp_path / "train.json").write_text(json.dumps(fields))
    loader = TokenLoader(open_train_rows(tmp_path), 5, 77, torch.device("cpu"))
    for _ in range(11):  # 55 rows: into the second epoch
        loader.next()
    loader.close()
    assert rows_checksum(tmp_path, files, 9, 77, 55) == loader.checksum
    assert rows_checksum(tmp_path, files, 9, 78, 55) != loader.checksum


def test_a_job_survives_json() -> None:
    job = EvaluationJob("t", "c", "d", "w", gpus=(1, 2), train_seed=2**63)
    assert parse_job(job.to_json()) == job


def test_sampling_takes_the_likeliest_at_temperature_zero_and_draws_otherwise() -> None:
    scores = np.array([0.0, 1.0, -math.inf])
    random = np.random.default_rng(1)
    assert pick(scores, 0.0, random) == 1
    drawn = {pick(scores, 1.0, random) for _ in range(100)}
    assert drawn == {0, 1}
