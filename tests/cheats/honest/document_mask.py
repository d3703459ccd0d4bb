# ruff: noqa
# base: template
# set: DOCUMENT_MASK=True
"""Attention inside documents only."""

pass
