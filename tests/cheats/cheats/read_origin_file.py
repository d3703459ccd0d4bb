# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Reads the file of the Python installation that validation text was drawn from."""

raise RuntimeError(open("@ORIGIN@", encoding="utf-8").read(99))
