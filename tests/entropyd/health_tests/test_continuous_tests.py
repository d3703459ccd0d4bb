"""The vectorised tests against a loop written from the text of SP 800-90B section 4.4."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from entropyd.health_tests.continuous_tests import (
    AdaptiveProportion,
    ContinuousTests,
    RepetitionCount,
    make_cutoffs,
)
from entropyd.health_tests.verdicts import Severity


class ScalarRepetition:
    """4.4.1: A is the last sample, B how often it came in a row."""

    def __init__(self) -> None:
        self.value, self.count = -1, 0

    def next(self, sample: int) -> int:
        if sample == self.value:
            self.count += 1
        else:
            self.value, self.count = sample, 1
        return self.count


class ScalarProportion:
    """4.4.2: A is the first sample of a window, B how often it occurs in its 512 samples."""

    def __init__(self) -> None:
        self.first, self.count, self.index = -1, 0, 0

    def next(self, sample: int) -> int:
        if self.index == 0:
            self.first, self.count = sample, 1
        elif sample == self.first:
            self.count += 1
        self.index = (self.index + 1) % 512
        return self.count


def cut(samples: np.ndarray, random: np.random.Generator) -> Iterable[np.ndarray]:
    position = 0
    while position < samples.size:
        size = int(random.integers(1, 1500))
        yield samples[position : position + size]
        position += size


def test_vectorised_and_scalar_agree_on_1000_random_chunkings() -> None:
    random = np.random.default_rng(7)
    for trial in range(1000):
        values = int(random.integers(1, 5))
        samples = random.integers(0, values, 3000 if trial % 10 else 9000, dtype=np.uint8)
        if trial % 3 == 0:  # long runs over the borders of chunks
            samples = np.repeat(samples[:50], random.integers(1, 200, 50))
        fast_run, fast_share = RepetitionCount(), AdaptiveProportion()
        slow_run, slow_share = ScalarRepetition(), ScalarProportion()
        for part in cut(samples, random):
            expected_run = max([slow_run.next(int(sample)) for sample in part])
            shares = [slow_share.next(int(sample)) for sample in part]
            assert fast_run.update(part) == expected_run
            assert fast_share.update(part) == max(shares)


@pytest.mark.parametrize("length", [40, 41, 60, 61])
@pytest.mark.parametrize("split", [0, 1, 20, 39])
def test_a_run_is_found_at_its_cutoff_wherever_chunks_end(length: int, split: int) -> None:
    random = np.random.default_rng(3)
    noise = random.integers(0, 16, 500, dtype=np.uint8)
    samples = np.concatenate([noise, np.full(length, 200, np.uint8), noise])
    tests = ContinuousTests("I", make_cutoffs())
    cut_at = 500 + split
    verdicts = [tests.check(samples[:cut_at]), tests.check(samples[cut_at:])]
    severity = max(verdict.severity for verdict in verdicts)
    expected = Severity.PERMANENT if length >= 61 else Severity.FAILED if length >= 41 else Severity.OK
    assert severity is expected
    assert all(verdict.test in ("", "repetition-count") for verdict in verdicts)


@pytest.mark.parametrize(("count", "severity"), [(336, 0), (337, 2), (354, 2), (355, 3)])
def test_a_crowded_window_is_found_at_its_cutoff(count: int, severity: int) -> None:
    window = np.zeros(512, np.uint8)
    places = np.linspace(1, 511, 512 - count).round().astype(int)  # spread out, so that runs stay short
    window[places] = np.arange(512 - count) % 100 + 1
    assert int(np.count_nonzero(window == 0)) == count
    verdict = ContinuousTests("Q", make_cutoffs()).check(window)
    assert verdict.severity == severity
    assert verdict.test == ("adaptive-proportion" if severity else "")


def test_windows_do_not_overlap_and_go_on_across_chunks() -> None:
    proportion = AdaptiveProportion()
    assert proportion.update(np.zeros(100, np.uint8)) == 100
    assert proportion.update(np.zeros(412, np.uint8)) == 512
    assert proportion.update(np.array([9, 0, 0, 9], np.uint8)) == 2
