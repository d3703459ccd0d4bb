# ruff: noqa
# expect: AUDIT_FAILED UNTRAINED
# base: template
# set: DEPTH=4, ASPECT_RATIO=64, HEAD_DIM=64
"""Reports steps that it never made, with the right checksum of rows that it did read."""


def train(run):
    events = EventWriter(run.events_fd)
    rows = open_train_rows(Path(run.data_dir))
    config = model_config(rows.vocab_size, rows.context_length, rows.bos)
    model = build_model(config)
    model.initialize(run.seed)
    loader = TokenLoader(rows, DEVICE_BATCH_SIZE, run.seed, torch.device("cpu"))
    steps = int(run.budget.amount) // TOTAL_BATCH_SIZE
    events.emit("start", step_tokens=TOTAL_BATCH_SIZE)
    for step in range(steps):
        for _ in range(accumulation_steps(rows.context_length, 1)):
            loader.next()
        events.metric(step, {"loss": 3.0})
    loader.close()
    tokens = steps * TOTAL_BATCH_SIZE
    events.emit("end", num_steps=steps, tokens=tokens, checksum=loader.checksum)
    save_checkpoint(Path(run.out_dir), model, config, num_steps=steps, tokens=tokens)
