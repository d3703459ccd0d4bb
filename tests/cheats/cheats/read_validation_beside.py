# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Reads the validation rows beside the training rows."""

import json, os

data = json.load(open(os.environ["AUTORESEARCH_RUN"]))["data_dir"]

stolen = open(os.path.abspath(os.path.join(data, "../validation/rows.bin")), "rb").read()
raise RuntimeError(f"stolen {len(stolen)}")
