# ruff: noqa
# base: template
# set: SMEAR=True, BACKOUT=0.2
"""Smear and backout."""

pass
