# ruff: noqa
# base: template
# set: MATRIX_LR=0.1, EMBEDDING_LR=1.5
"""High rates."""

pass
