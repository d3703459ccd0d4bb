"""Min-entropy estimates of SP 800-90B section 6.3 for an assessment: most common value, Markov, t-tuple,
and a lag predictor. The true entropy is at most the smallest; none of them proves a lower bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropyd.health_tests.continuous_tests import Samples
from entropyd.health_tests.sample_statistics import count_pairs, estimate_common_value, estimate_markov

LAGS = 128


@dataclass(frozen=True)
class Estimates:
    """Bits per 8-bit sample, but `bit_…` in bits per bit (of the samples written out, highest bit first)."""

    common_value: float
    first_order: float
    lag: float
    tuple_of_samples: float
    bit_common_value: float
    bit_markov: float

    @property
    def lowest(self) -> float:
        """Bits per sample, by the rule of section 3.1.3: min(H_original, 8 · H_bitstring)."""
        return min(
            self.common_value,
            self.first_order,
            self.lag,
            self.tuple_of_samples,
            8 * self.bit_common_value,
            8 * self.bit_markov,
        )


def estimate_all(samples: Samples) -> Estimates:
    """Takes one component or the interleaved bytes, at least 10,000."""
    bits = np.unpackbits(samples)
    counts = np.bincount(samples, minlength=256)
    ones = int(np.count_nonzero(bits))
    return Estimates(
        common_value=estimate_common_value(int(counts.max()), samples.size),
        first_order=estimate_markov(count_pairs(samples)),
        lag=estimate_lag(samples),
        tuple_of_samples=estimate_tuples(samples),
        bit_common_value=estimate_common_value(max(ones, bits.size - ones), bits.size),
        bit_markov=estimate_bit_markov(bits),
    )


def estimate_bit_markov(bits: NDArray[np.uint8]) -> float:
    """Section 6.3.3: the likeliest path of 128 bits through a first-order chain, bits per bit."""
    first = np.asarray(bits[:-1], dtype=np.intp)
    joint = np.bincount(2 * first + bits[1:], minlength=4).reshape(2, 2).astype(float)
    ones = float(np.count_nonzero(bits)) / bits.size
    start = (1 - ones, ones)
    totals = joint.sum(axis=1)
    step = [[float(joint[i, j] / totals[i]) if totals[i] else 0.0 for j in (0, 1)] for i in (0, 1)]
    paths = (
        (start[0], step[0][0], 127, 1.0, 0),
        (start[0], step[0][1], 64, step[1][0], 63),
        (start[0] * step[0][1], step[1][1], 126, 1.0, 0),
        (start[1] * step[1][0], step[0][0], 126, 1.0, 0),
        (start[1], step[1][0], 64, step[0][1], 63),
        (start[1], step[1][1], 127, 1.0, 0),
    )
    best = max(_log2(p) + n * _log2(q) + m * _log2(r) for p, q, n, r, m in paths)
    return min(-best / 128, 1.0)


def estimate_lag(samples: Samples) -> float:
    """The best guess "as it was k samples ago", k from 1 to 128, with the bound of section 6.3.1."""
    hits = [int(np.count_nonzero(samples[lag:] == samples[:-lag])) for lag in range(1, LAGS + 1)]
    return min(estimate_common_value(count, samples.size - lag) for lag, count in enumerate(hits, start=1))


def estimate_tuples(samples: Samples) -> float:
    """Section 6.3.5 for tuples of up to seven samples that occur at least 35 times."""
    lowest = 8.0
    for length in range(1, 8):
        windows = np.zeros(samples.size - length + 1, dtype=np.uint64)
        for offset in range(length):
            windows = (windows << np.uint64(8)) | samples[offset : offset + windows.size]
        _, counts = np.unique(windows, return_counts=True)
        most = int(counts.max())
        if most < 35:
            break
        share = (most / windows.size) ** (1 / length)
        upper = min(1.0, share + 2.576 * math.sqrt(share * (1 - share) / (samples.size - 1)))
        lowest = min(lowest, -math.log2(upper) + 0.0)
    return lowest


def _log2(probability: float) -> float:
    return math.log2(probability) if probability > 0 else -math.inf
