# ruff: noqa
# base: template
# set: MLP_ACTIVATION='silu', MLP_RATIO=2
"""A narrow MLP with SiLU."""

pass
