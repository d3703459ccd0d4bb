"""Which pages of memory a process on a CPU keeps, and which it takes before anybody waits for it."""

import ctypes
import mmap
from typing import Final

import numpy as np

PAGE: Final = mmap.PAGESIZE
TOUCHED: Final = 24 << 20  # bytes of logits at most; a call of more is long enough to hide its first pages
PASS_PER_LOGITS: Final = 6  # a forward pass allocates 5.3 bytes for each byte of its logits (preset cpu)


def keep_large_blocks() -> None:
    """Makes glibc reuse large blocks instead of returning them to the kernel; nothing elsewhere.

    Otherwise every tensor over 32 MB is mapped and faulted in anew: a third of a step of the cpu preset.
    """
    trim_threshold, mmap_threshold = -1, -3
    try:
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, 1 << 30)
        library.mallopt(trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError, TypeError):
        return


def touch_pages(memory: mmap.mmap) -> None:
    """Has the kernel hand out the pages of the first answer into memory: those shared, and in the heap as
    many as a forward pass takes.

    Otherwise the first answer takes half as long again as those that follow, and of what the audits ask a
    fresh instance most is its first answer.
    """
    size = min(len(memory), TOUCHED)
    np.frombuffer(memory, dtype=np.uint8, count=size)[::PAGE].max()
    keep_large_blocks()
    np.empty(PASS_PER_LOGITS * size, dtype=np.uint8)[::PAGE] = 0
