# ruff: noqa
# expect: AUDIT_FAILED WRONG_VOCABULARY
# base: template
"""A smaller vocabulary has easier choices."""

_save = save_checkpoint


def save_checkpoint(folder, model, config, **facts):
    smaller = {**config, "vocab_size": 256}
    return _save(folder, build_model(smaller), smaller, **facts)
