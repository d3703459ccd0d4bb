"""The arithmetic of scoring.py on the device that holds the logits: float32 there, sums in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def device_nats(logits: torch.Tensor, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Cross-entropy of each target [B, T] under logits [B, T, V]."""
    wanted = torch.from_numpy(targets).to(logits.device)
    result = torch.empty(wanted.shape, dtype=torch.float32, device=logits.device)
    for row in range(len(logits)):  # row by row: temporaries stay small
        shifted = _shifted(logits[row])
        result[row] = shifted.exp().sum(-1).log() - shifted.gather(-1, wanted[row][:, None])[:, 0]
    found: npt.NDArray[np.float32] = result.cpu().numpy()
    return found


def device_log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """log_softmax over the last axis in float32, as a new tensor."""
    shifted = _shifted(logits)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def _shifted(logits: torch.Tensor) -> torch.Tensor:
    """Logits minus the largest of each place: beside a vast one the logarithm of the sum would be lost."""
    scores = logits.float()
    return scores - scores.amax(-1, keepdim=True)


def device_difference(first: torch.Tensor, second: torch.Tensor) -> tuple[float, float, float, int]:
    """Largest and mean absolute difference, mean of second - first, count; NaN where either holds one."""
    moved = second - first
    apart = moved.abs()
    means = float(apart.mean(dtype=torch.float64)), float(moved.mean(dtype=torch.float64))
    return float(apart.max()), *means, moved.numel()


def device_select(values: torch.Tensor, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> torch.Tensor:
    """values[index] for rows by number, or for positions by a mask over the leading axes."""
    return values[torch.from_numpy(index).to(values.device)]
