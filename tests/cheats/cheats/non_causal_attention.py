# ruff: noqa
# expect: AUDIT_FAILED NON_CAUSAL
# base: template
"""Attention that sees the whole row."""


def attend(q, k, v, window, plan):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
