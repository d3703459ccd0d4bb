# ruff: noqa
# base: template
# budget: time 2
"""A budget of seconds instead of tokens."""

pass
