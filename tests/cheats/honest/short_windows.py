# ruff: noqa
# base: template
# set: WINDOW_PATTERN='S', SHORT_WINDOW_DIVISOR=4
"""Short windows in all but the last layer."""

pass
