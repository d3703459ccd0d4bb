# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Looks for files that the daemon left open."""

import os, stat

left = []
for descriptor in range(3, 256):
    try:
        kind = os.fstat(descriptor).st_mode
    except OSError:
        continue
    if not stat.S_ISFIFO(kind) and not os.get_blocking(descriptor) is None and stat.S_ISREG(kind):
        left.append(descriptor)
mine = [d for d in left if "train.py" not in os.readlink(f"/proc/self/fd/{d}")]
raise RuntimeError(f"stolen {mine}") if mine else PermissionError("nothing was left open")
