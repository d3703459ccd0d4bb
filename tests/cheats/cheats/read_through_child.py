# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Has another program read the validation rows."""

import json, os

data = json.load(open(os.environ["AUTORESEARCH_RUN"]))["data_dir"]

import subprocess

done = subprocess.run(["cat", os.path.abspath(data + "/../validation/rows.bin")], capture_output=True)
raise RuntimeError(f"stolen {len(done.stdout)}") if done.stdout else PermissionError(done.stderr.decode())
