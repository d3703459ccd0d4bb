# ruff: noqa
# base: template
# set: MLP_ACTIVATION='gelu'
"""Another activation."""

pass
