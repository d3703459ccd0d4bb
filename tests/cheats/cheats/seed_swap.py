# ruff: noqa
# expect: AUDIT_FAILED UNTRAINED
# base: template
"""Takes the seed that did best, not the one that was drawn."""

from dataclasses import replace

_train = train


def train(run):
    return _train(replace(run, seed=42))
