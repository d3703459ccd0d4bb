"""Recomputes which training rows a run must have been handed, from its seed: the loader's order is fixed."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np


def rows_checksum(train_folder: Path, files: list[str], row_length: int, seed: int, consumed: int) -> int:
    """CRC-32 over the first `consumed` rows that the loader hands out for this seed."""
    parts = [
        np.memmap(train_folder / name, dtype=np.uint16, mode="r").reshape(-1, row_length) for name in files
    ]
    starts = np.cumsum([0] + [len(part) for part in parts])
    checksum, epoch = 0, 0
    while consumed > 0:
        epoch += 1
        # As trainer.harness.loader does it, which cannot be imported here: it needs torch.
        order = np.random.default_rng([seed & (2**64 - 1), epoch]).permutation(int(starts[-1]))[:consumed]
        consumed -= len(order)
        for first in range(0, len(order), 4096):
            chosen = order[first : first + 4096]
            block = np.empty((len(chosen), row_length), dtype=np.uint16)
            numbers = np.searchsorted(starts, chosen, side="right") - 1
            for number, part in enumerate(parts):
                here = np.nonzero(numbers == number)[0]
                if len(here):
                    block[here] = part[chosen[here] - starts[number]]
            checksum = zlib.crc32(block.tobytes(), checksum)
    return checksum
