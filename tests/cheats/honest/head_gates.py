# ruff: noqa
# base: template
# set: HEAD_GATES=True, HEAD_NORM=True
"""Gated heads."""

pass
