# ruff: noqa
# base: template
# set: FUSED_LOSS=False
"""Cross-entropy in separate steps."""

pass
