# ruff: noqa
# base: template
# set: SOFTCAP=0.0
"""Logits without a cap."""

pass
