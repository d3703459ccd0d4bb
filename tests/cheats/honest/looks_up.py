# ruff: noqa
# base: template
# set: RECALL="1 2", MEMORY="2 4", MEMORY_BITS=10
"""Looks up what followed before, in the row and in the rows trained on."""

pass
