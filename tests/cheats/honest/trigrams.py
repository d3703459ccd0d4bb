# ruff: noqa
# base: template
# set: NGRAM_ORDER=3
"""Hashed bigram and trigram tables."""

pass
