# ruff: noqa
# base: template
# set:
"""The template as it is."""

pass
