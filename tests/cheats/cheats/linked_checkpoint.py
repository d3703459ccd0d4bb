# ruff: noqa
# expect: BAD_CHECKPOINT
# base: template
"""A checkpoint that is a link to a file of the host."""

_train = train


def train(run):
    _train(run)
    out = Path(run.out_dir)
    (out / "model.safetensors").rename(out / "real")
    (out / "model.safetensors").symlink_to("/etc/hostname")
