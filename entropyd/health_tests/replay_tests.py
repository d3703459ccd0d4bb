"""Finds bytes that were there before: a driver that repeats buffers, a loop, a recording played as live."""

from __future__ import annotations

import hashlib
from collections import deque

from entropyd.health_tests.verdicts import PASSED, Verdict, failed

ANCHOR_BYTES = 128
REMEMBERED_CHUNKS = 64
REMEMBERED_ANCHORS = 4


class ReplayTests:
    """`check` remembers: the hashes of the last 64 chunks, and the first 128 bytes of the last four.

    Thermal noise does not repeat 128 bytes; with one bit of entropy a byte the chance is 2^-128 per place.
    """

    def __init__(self) -> None:
        self._hashes: deque[bytes] = deque(maxlen=REMEMBERED_CHUNKS)
        self._anchors: deque[bytes] = deque(maxlen=REMEMBERED_ANCHORS)

    def check(self, data: bytes) -> list[Verdict]:
        """Takes the bytes of a chunk, at least 1,024."""
        verdicts = [self._check_duplicate(data), self._check_repeats(data)]
        self._anchors.append(data[:ANCHOR_BYTES])
        return verdicts

    def _check_duplicate(self, data: bytes) -> Verdict:
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if digest in self._hashes:
            return failed("duplicate-chunk", "the driver handed out the same buffer again")
        self._hashes.append(digest)
        return PASSED

    def _check_repeats(self, data: bytes) -> Verdict:
        for start in (0, len(data) // 2):
            found = data.find(data[start : start + ANCHOR_BYTES], start + 1)
            if found >= 0:
                return failed("replay", f"128 bytes come again after {(found - start) / 2:g} samples")
        for age, anchor in enumerate(reversed(self._anchors), start=1):
            if data.find(anchor) >= 0:
                return failed("replay", f"the start of the chunk {age} before this one comes again")
        return PASSED
