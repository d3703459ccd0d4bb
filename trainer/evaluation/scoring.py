"""From logits to nats and bits per byte: log-softmax in float32, sums in float64.

Logits are numpy arrays, or torch tensors on the device that they were computed on; they are scored there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]
Index = npt.NDArray[np.int64] | npt.NDArray[np.bool_]
Scores = Any  # Floats or torch.Tensor, which only device_scoring names


def token_nats(logits: Scores, targets: Tokens) -> Floats:
    """Cross-entropy of each target [B, T] under logits [B, T, V]; leaves logits as they are."""
    if not isinstance(logits, np.ndarray):
        from trainer.evaluation.device_scoring import device_nats

        return device_nats(logits, targets)
    result = np.empty(targets.shape, dtype=np.float32)
    for row in range(len(logits)):  # row by row: one row's temporaries stay in the cache
        # Never largest + log(sum): beside a vast logit the logarithm is lost, and all is certain and free.
        shifted = logits[row] - logits[row].max(axis=-1, keepdims=True)
        picked = np.take_along_axis(shifted, targets[row][:, None], axis=-1)[:, 0]
        result[row] = np.log(np.exp(shifted).sum(axis=-1, dtype=np.float32)) - picked
    return result


def log_probabilities(logits: Scores) -> Scores:
    """log_softmax over the last axis, as a new array."""
    if not isinstance(logits, np.ndarray):
        from trainer.evaluation.device_scoring import device_log_probabilities

        return device_log_probabilities(logits)
    largest = logits.max(axis=-1, keepdims=True)
    shifted = logits - largest
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


@dataclass(frozen=True)
class Difference:
    """Between two arrays of one shape: largest and mean absolute difference, the mean of second - first, and
    how many numbers; NaN where either holds one."""

    largest: float
    mean: float
    bias: float
    count: int


def difference(first: Scores, second: Scores) -> Difference:
    """What lies between two arrays of one shape."""
    if not isinstance(first, np.ndarray):
        from trainer.evaluation.device_scoring import device_difference

        return Difference(*device_difference(first, second))
    moved = second - first
    apart = np.abs(moved)
    means = float(apart.mean(dtype=np.float64)), float(moved.mean(dtype=np.float64))
    return Difference(float(apart.max()), *means, moved.size)


def select(values: Scores, index: Index) -> Scores:
    """values[index], for rows by number or positions by a mask over the leading axes."""
    if not isinstance(values, np.ndarray):
        from trainer.evaluation.device_scoring import device_select

        return device_select(values, index)
    return values[index]


def bits_per_byte(nats: float, byte_count: int) -> float:
    """NaN where there are no bytes."""
    return nats / (math.log(2) * byte_count) if byte_count else math.nan


@dataclass
class Tally:
    """Sums over scored tokens. Targets without bytes (specials) are left out of nats and bytes alike."""

    nats: float = 0.0
    bytes: int = 0
    legacy_bytes: int = 0
    tokens: int = 0

    def add(self, nats: Floats, exact: npt.NDArray[np.int32], legacy: npt.NDArray[np.int32]) -> None:
        """nats, and the byte lengths of the targets, all [B, T]."""
        self.nats += float(nats[exact > 0].sum(dtype=np.float64))
        self.bytes += int(exact.sum())
        self.legacy_bytes += int(legacy.sum())
        self.tokens += nats.size
