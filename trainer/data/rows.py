"""Writing packed rows to disk: gathered in memory-sized blocks, shuffled once, split into files."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.uint16]
ROWS_PER_BLOCK = 4096
BYTES_PER_FILE = 512 * 2**20


def spool_rows(rows: Iterable[Tokens], path: Path, most: int | None = None) -> int:
    """Appends rows to a raw uint16 file and returns how many; at most `most` of them."""
    count = 0
    block: list[Tokens] = []
    with path.open("wb") as stream:
        for row in rows:
            block.append(row)
            count += 1
            if len(block) == ROWS_PER_BLOCK:
                stream.write(np.stack(block).tobytes())
                block.clear()
            if most is not None and count >= most:
                break
        if block:
            stream.write(np.stack(block).tobytes())
        stream.flush()
        os.fsync(stream.fileno())
    return count


def write_shuffled(spool: Path, row_length: int, folder: Path, seed: int) -> list[str]:
    """Writes the spooled rows in a seeded random order as rows_00000.bin and so on; returns the names."""
    if spool.stat().st_size == 0:
        return []
    spooled = np.memmap(spool, dtype=np.uint16, mode="r").reshape(-1, row_length)
    order = np.random.default_rng(seed).permutation(len(spooled))
    rows_per_file = max(1, BYTES_PER_FILE // (2 * row_length))
    names = []
    for number, start in enumerate(range(0, len(order), rows_per_file)):
        name = f"rows_{number:05d}.bin"
        chosen = order[start : start + rows_per_file]
        with (folder / name).open("wb") as stream:
            for first in range(0, len(chosen), ROWS_PER_BLOCK):
                stream.write(spooled[chosen[first : first + ROWS_PER_BLOCK]].tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        names.append(name)
    return names


def write_sample(spool: Path, row_length: int, target: Path, most: int, seed: int) -> int:
    """Writes a seeded random sample of at most `most` spooled rows and returns how many."""
    if spool.stat().st_size == 0:
        target.write_bytes(b"")
        return 0
    spooled = np.memmap(spool, dtype=np.uint16, mode="r").reshape(-1, row_length)
    chosen = np.random.default_rng(seed).permutation(len(spooled))[:most]
    with target.open("wb") as stream:
        stream.write(spooled[chosen].tobytes())
        stream.flush()
        os.fsync(stream.fileno())
    return len(chosen)
