# ruff: noqa
# base: template
# set: DEVICE_BATCH_SIZE=2
"""Gradient accumulation."""

pass
