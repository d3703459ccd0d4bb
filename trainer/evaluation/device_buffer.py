"""Logits of one candidate in CUDA memory that the evaluator owns: they never cross the host.

The candidate can write the memory at any time and has no other: what is scored is a private copy. Before
each request the memory is filled with NaN, so that what is not written is no answer.
"""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING

from trainer.evaluation.job import EvaluationJob
from trainer.harness.shared_device_memory import (
    DeviceMemoryError,
    create_shared_floats,
    device_bytes,
    device_count,
)

if TYPE_CHECKING:
    import torch

MEMORY_SHARE = 24  # a batch's logits are at most this part of the device: candidates hold several copies


class DeviceBuffer:
    """Memory for `floats` logits on a device of this process, and the descriptor to pass on.

    Raises DeviceMemoryError. Made before the candidate starts and before torch is imported.
    """

    def __init__(self, floats: int, device: int = 0) -> None:
        self._shared, self.descriptor = create_shared_floats(floats, device)
        self.floats, self._device = floats, device
        self._view: torch.Tensor | None = None

    def clear(self, count: int) -> None:
        """Fills the first count numbers with NaN, and waits until they are."""
        import torch

        self._all()[:count].fill_(torch.nan)
        torch.cuda.synchronize(self._device)

    def read(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A private copy of the numbers from the beginning on, float32 on the device."""
        return self._all()[: math.prod(shape)].clone().view(shape)

    def close_descriptor(self) -> None:
        """Once the candidate has it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _all(self) -> torch.Tensor:
        import torch

        if self._view is None:
            self._view = torch.as_tensor(self._shared, device=f"cuda:{self._device}")
        return self._view


def plan_buffers(
    job: EvaluationJob, length: int, vocabulary: int, count: int
) -> tuple[int, list[DeviceBuffer], str]:
    """Rows of a batch, a buffer for each of `count` candidates, or none and the reason."""
    rows = job.batch_rows
    if not job.gpus:
        return rows, [], ""
    try:
        limit = device_bytes(job.ordinal) // MEMORY_SHARE // (length * vocabulary * 4)
        rows = max(1, min(rows, 1 << max(limit.bit_length() - 1, 0)))
        if not job.share_device:
            return rows, [], "not wanted"
        if job.tier == "CONTAINER":
            return rows, [], "a container cannot be given a descriptor"
        if sys.platform != "linux":
            return rows, [], "memory is shared by descriptor on Linux only"
        floats = rows * length * vocabulary
        return rows, [DeviceBuffer(floats, job.ordinal) for _ in range(count)], ""
    except DeviceMemoryError as error:
        return rows, [], str(error)


def find_gpu(name: str) -> tuple[str, int, tuple[int, ...]]:
    """From a device's name (auto, cpu, mps, cuda, cuda:N): the candidate's name for it, the number that this
    process knows it by, and the same as the job's gpus."""
    kind, _, number = name.partition(":")
    count = device_count() if kind in ("auto", "cuda") else 0
    if not count:
        return name, 0, ()
    ordinal = int(number) if number.isdigit() else 0
    return "cuda", ordinal, (ordinal,)
