"""Repetition count and adaptive proportion tests of NIST SP 800-90B sections 4.4.1 and 4.4.2, over whole
chunks at a time, their state carried from chunk to chunk. A test compares them with a loop by the text."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from entropyd.health_tests.cutoffs import APT_WINDOW, adaptive_cutoff, repetition_cutoff
from entropyd.health_tests.verdicts import PASSED, Verdict, failed, permanent

Samples = NDArray[np.uint8]


@dataclass(frozen=True)
class Cutoffs:
    """Two limits for each test: an alarm, and one that must not be forgiven."""

    repetition: int
    repetition_permanent: int
    proportion: int
    proportion_permanent: int


def make_cutoffs(
    min_entropy: Fraction = Fraction(1), alpha_bits: int = 40, permanent_alpha_bits: int = 60
) -> Cutoffs:
    """For a design min-entropy in bits per sample; it is apart from what is credited."""
    return Cutoffs(
        repetition=repetition_cutoff(min_entropy, alpha_bits),
        repetition_permanent=repetition_cutoff(min_entropy, permanent_alpha_bits),
        proportion=adaptive_cutoff(min_entropy, alpha_bits),
        proportion_permanent=adaptive_cutoff(min_entropy, permanent_alpha_bits),
    )


class RepetitionCount:
    """Length of the present run of equal samples. `update` returns the longest run that was reached."""

    def __init__(self) -> None:
        self._last = -1
        self._run = 0

    def update(self, samples: Samples) -> int:
        """Takes the next samples, at least one; runs may begin in earlier calls."""
        borders = np.flatnonzero(samples[1:] != samples[:-1]) + 1
        first_end = int(borders[0]) if borders.size else samples.size
        first_run = first_end + (self._run if int(samples[0]) == self._last else 0)
        longest = first_run
        if borders.size:
            last_run = samples.size - int(borders[-1])
            longest = max(longest, last_run)
            if borders.size > 1:
                longest = max(longest, int(np.diff(borders).max()))
            self._run = last_run
        else:
            self._run = first_run
        self._last = int(samples[-1])
        return longest


class AdaptiveProportion:
    """Windows of 512 samples, one after the other: how often their first value occurs in them."""

    def __init__(self, window: int = APT_WINDOW) -> None:
        self._window = window
        self._first = 0
        self._count = 0
        self._seen = 0

    def update(self, samples: Samples) -> int:
        """Takes the next samples and returns the largest count reached in any window, open ones too."""
        largest = 0
        if self._seen:
            head = samples[: self._window - self._seen]
            samples = samples[head.size :]
            self._count += int(np.count_nonzero(head == self._first))
            self._seen = (self._seen + head.size) % self._window
            largest = self._count
        whole = samples.size // self._window * self._window
        if whole:
            windows = samples[:whole].reshape(-1, self._window)
            largest = max(largest, int(np.count_nonzero(windows == windows[:, :1], axis=1).max()))
        tail = samples[whole:]
        if tail.size:
            self._first, self._seen = int(tail[0]), tail.size
            self._count = int(np.count_nonzero(tail == self._first))
            largest = max(largest, self._count)
        return largest


class ContinuousTests:
    """Both tests on one component, I or Q."""

    def __init__(self, component: str, cutoffs: Cutoffs) -> None:
        self._component = component
        self._cutoffs = cutoffs
        self._repetition = RepetitionCount()
        self._proportion = AdaptiveProportion()

    def check(self, samples: Samples) -> Verdict:
        longest, largest = self._repetition.update(samples), self._proportion.update(samples)
        cutoffs = self._cutoffs
        repeated = f"{self._component}: one value {longest} times in a row (limit {cutoffs.repetition})"
        crowded = f"{self._component}: one value {largest} times in 512 (limit {cutoffs.proportion})"
        if longest >= cutoffs.repetition_permanent:
            return permanent("repetition-count", repeated)
        if largest >= cutoffs.proportion_permanent:
            return permanent("adaptive-proportion", crowded)
        if longest >= cutoffs.repetition:
            return failed("repetition-count", repeated)
        if largest >= cutoffs.proportion:
            return failed("adaptive-proportion", crowded)
        return PASSED
