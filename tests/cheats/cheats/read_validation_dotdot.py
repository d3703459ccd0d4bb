# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""The same through a path with dots, which the kernel resolves."""

import json, os

data = json.load(open(os.environ["AUTORESEARCH_RUN"]))["data_dir"]

raise RuntimeError(
    open(data + "/../../" + os.path.basename(os.path.dirname(data)) + "/validation/rows.bin", "rb").read(9)
)
