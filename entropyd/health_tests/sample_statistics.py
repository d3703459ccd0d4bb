"""One pass over a component of a chunk: the counts from which the radio tests and the estimator work."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropyd.health_tests.continuous_tests import Samples

_VALUES = np.arange(256)
# Confidence of the estimates in SP 800-90B section 6.3: the upper end of a 99 % interval.
_Z = 2.576


@dataclass(frozen=True)
class SampleStatistics:
    """Of one component. mean, sigma and drift in LSB; shares from 0 to 1; min-entropy in bits per sample.

    drift: largest difference between the means of 16 equal parts of the chunk.
    step_share: how often the commonest difference (modulo 256) to the sample before occurs.
    """

    mean: float
    sigma: float
    drift: float
    clip_share: float
    step_share: float
    common_value_entropy: float
    markov_entropy: float


def measure(samples: Samples) -> SampleStatistics:
    """Takes at least 1,024 samples."""
    joint = count_pairs(samples)
    counts = joint.sum(axis=0)
    total = int(counts.sum())
    mean = float(counts @ _VALUES) / total
    variance = float(counts @ (_VALUES - mean) ** 2) / total
    return SampleStatistics(
        mean=mean,
        sigma=math.sqrt(variance),
        drift=_drift(samples),
        clip_share=float(counts[0] + counts[255]) / total,
        step_share=_step_share(joint),
        common_value_entropy=estimate_common_value(int(counts.max()), total),
        markov_entropy=estimate_markov(joint),
    )


def count_pairs(samples: Samples) -> NDArray[np.int64]:
    """[256, 256]: how often value j follows value i."""
    pairs = (samples[:-1].astype(np.uint16) << 8) | samples[1:]
    return np.bincount(pairs, minlength=65_536).reshape(256, 256)


def estimate_common_value(largest_count: int, total: int) -> float:
    """Most common value estimate (SP 800-90B 6.3.1), bits per sample."""
    share = largest_count / total
    return _entropy_of(share, total)


def estimate_markov(joint: NDArray[np.int64]) -> float:
    """First-order Markov: the guess of the likeliest successor of each value, bits per sample."""
    total = int(joint.sum())
    return _entropy_of(float(joint.max(axis=1).sum()) / total, total)


def _entropy_of(share: float, total: int) -> float:
    upper = min(1.0, share + _Z * math.sqrt(share * (1 - share) / (total - 1)))
    return -math.log2(max(upper, 1 / total)) + 0.0  # no negative zero


def _step_share(joint: NDArray[np.int64]) -> float:
    before, after = np.nonzero(joint)
    steps = np.bincount((after - before) % 256, weights=joint[before, after], minlength=256)
    return float(steps.max() / steps.sum())


def _drift(samples: Samples) -> float:
    part = samples.size // 16
    means = samples[: part * 16].reshape(16, part).mean(axis=1)
    return float(means.max() - means.min())
