# ruff: noqa
# expect: AUDIT_FAILED BUDGET_EXCEEDED
# base: template
"""Says that training has ended, then trains on before it writes the weights."""

_save = save_checkpoint


def save_checkpoint(folder, model, config, **facts):
    most = time.process_time() + 3.0 + 2.0 * time.process_time()
    while time.process_time() < most:
        torch.randn(64, 64) @ torch.randn(64, 64)
    return _save(folder, model, config, **facts)
