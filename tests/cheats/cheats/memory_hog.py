# ruff: noqa
# expect: FAILED OUT_OF_HOST_MEMORY
"""Takes memory until there is none."""

taken = []
while True:
    taken.append(b"x" * (16 << 20))
