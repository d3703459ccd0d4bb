# ruff: noqa
# expect: BAD_CHECKPOINT
# base: template
"""Other weights than those that its checkpoint describes."""

_train = train


def train(run):
    _train(run)
    path = Path(run.out_dir) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
