# ruff: noqa
# expect: AUDIT_FAILED BUDGET_EXCEEDED
# base: template
"""Trains before it says that training starts."""

_train = train


def train(run):
    # Loading torch is what the machine is measured by: several times that is more than any setup takes.
    most = 4.0 + 6.0 * time.process_time()
    while time.process_time() < most:
        torch.randn(64, 64) @ torch.randn(64, 64)
    return _train(run)
