# ruff: noqa
# expect: FAILED LIMIT_EXCEEDED
"""Fills the disk file by file."""

import os

for number in range(100_000):
    with open(f"file-{number}", "wb") as stream:
        stream.write(os.urandom(1 << 20))
