# ruff: noqa
# base: template
# set: QK_NORM=False
"""Queries and keys without a norm."""

pass
