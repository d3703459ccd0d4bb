# ruff: noqa
# expect: BAD_CHECKPOINT
# base: template
"""A checkpoint that is a link: the daemon, outside of the sandbox, would follow it elsewhere."""

_train = train


def train(run):
    _train(run)
    out = Path(run.out_dir)
    (out / "model.safetensors").rename(out / "real")
    (out / "model.safetensors").symlink_to("real")
