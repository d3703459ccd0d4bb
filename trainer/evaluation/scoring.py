"""From logits to nats and bits per byte: log-softmax in float32, sums in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]


def token_nats(logits: Floats, targets: Tokens) -> Floats:
    """Cross-entropy of each target [B, T] under logits [B, T, V]; leaves logits as they are."""
    result = np.empty(targets.shape, dtype=np.float32)
    for row in range(len(logits)):  # row by row: one row's temporaries stay in the cache
        scores = logits[row]
        largest = scores.max(axis=-1)
        sums = np.exp(scores - largest[:, None]).sum(axis=-1, dtype=np.float32)
        picked = np.take_along_axis(scores, targets[row][:, None], axis=-1)[:, 0]
        result[row] = np.log(sums) + largest - picked
    return result


def log_probabilities(logits: Floats) -> Floats:
    """log_softmax over the last axis, as a new array."""
    largest = logits.max(axis=-1, keepdims=True)
    shifted = logits - largest
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float32)


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
