# ruff: noqa
# expect: FAILED LIMIT_EXCEEDED
"""A sparse file of one terabyte."""

import json, os

run = json.load(open(os.environ["AUTORESEARCH_RUN"]))
with open(os.path.join(run["out_dir"], "model.safetensors"), "wb") as stream:
    stream.truncate(1 << 40)
raise RuntimeError("it fitted")
