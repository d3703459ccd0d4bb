# ruff: noqa
# expect: FAILED LIMIT_EXCEEDED
"""A hundred thousand files."""

for number in range(100_000):
    open(f"file-{number}", "wb").close()
import time

time.sleep(30)
