# ruff: noqa
# base: template
# set: DEPTH=3
"""Three layers."""

pass
