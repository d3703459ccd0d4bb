# ruff: noqa
# expect: SUCCEEDED
# base: template
# claims: 0.1
"""Prints a wonderful score: it is stored as claimed and decides nothing."""

_train = train


def train(run):
    figures = _train(run)
    print("---")
    print("val_bpb:          0.100000")
    return figures
