# ruff: noqa
# base: template
# set: VALUE_EMBEDDINGS=False
"""Without value embeddings."""

pass
