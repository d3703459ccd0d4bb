# ruff: noqa
# base: template
# set: WEBER_MODE='normalized'
"""The Weber bracket in normalised units."""

pass
