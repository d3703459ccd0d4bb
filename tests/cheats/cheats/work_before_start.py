# ruff: noqa
# expect: AUDIT_FAILED BUDGET_EXCEEDED
# base: template
"""Trains before it says that training starts."""

_train = train


def train(run):
    began = time.process_time()
    while time.process_time() - began < 22.0:
        torch.randn(64, 64) @ torch.randn(64, 64)
    return _train(run)
