# ruff: noqa
# expect: FAILED LIMIT_EXCEEDED
"""Forks without end."""

import os, time

end = time.monotonic() + 20
while time.monotonic() < end:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
