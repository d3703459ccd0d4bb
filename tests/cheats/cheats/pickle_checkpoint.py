# ruff: noqa
# expect: BAD_CHECKPOINT
# base: template
"""A pickle under the name of safetensors, with a payload."""

import json, pickle, hashlib


class Payload:
    def __reduce__(self):
        return (os.system, ("touch @OUTSIDE@",))


import os


def train(run):
    events = EventWriter(run.events_fd)
    events.emit("start", step_tokens=1)
    events.metric(0, {"loss": 1.0})
    events.emit("end", num_steps=1, tokens=1, checksum=0)
    data = pickle.dumps(Payload())
    out = Path(run.out_dir)
    (out / "model.safetensors").write_bytes(data)
    facts = {"config": {}, "num_steps": 1, "tokens": 1, "weights_sha256": hashlib.sha256(data).hexdigest()}
    (out / "checkpoint.json").write_text(json.dumps(facts))
