# ruff: noqa
# base: template
# set: WARMUP_RATIO=0.2, WARMDOWN_RATIO=0.8
"""Warm-up and a long warm-down."""

pass
