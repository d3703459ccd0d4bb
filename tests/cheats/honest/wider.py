# ruff: noqa
# base: template
# set: ASPECT_RATIO=32
"""A wider model."""

pass
