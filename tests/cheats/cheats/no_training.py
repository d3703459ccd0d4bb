# ruff: noqa
# expect: AUDIT_FAILED UNTRAINED
# base: template
"""Hands over weights without a single step."""


def train(run):
    rows = open_train_rows(Path(run.data_dir))
    config = model_config(rows.vocab_size, rows.context_length, rows.bos)
    model = build_model(config)
    model.initialize(run.seed)
    save_checkpoint(Path(run.out_dir), model, config, num_steps=0, tokens=0)
