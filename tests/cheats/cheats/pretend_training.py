# ruff: noqa
# expect: AUDIT_FAILED UNTRAINED
# base: template
"""Reports steps that it never made."""


def train(run):
    events = EventWriter(run.events_fd)
    rows = open_train_rows(Path(run.data_dir))
    config = model_config(rows.vocab_size, rows.context_length, rows.bos)
    model = build_model(config)
    model.initialize(run.seed)
    steps = int(run.budget.amount) // TOTAL_BATCH_SIZE
    events.emit("start", step_tokens=TOTAL_BATCH_SIZE)
    for step in range(steps):
        events.metric(step, {"loss": 3.0})
    events.emit("end", num_steps=steps, tokens=steps * TOTAL_BATCH_SIZE, checksum=12345)
    save_checkpoint(Path(run.out_dir), model, config, num_steps=steps, tokens=steps * TOTAL_BATCH_SIZE)
