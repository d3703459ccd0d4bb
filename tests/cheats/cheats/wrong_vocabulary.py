# ruff: noqa
# expect: AUDIT_FAILED WRONG_VOCABULARY
# base: template
"""A smaller vocabulary has easier choices."""

_model_config = model_config


def save_checkpoint(folder, model, config, **facts):
    from trainer.harness import checkpoint

    return checkpoint.save_checkpoint(folder, model, {**config, "vocab_size": 256}, **facts)
