# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Looks for the manifest that lists those files."""

import json, os

data = json.load(open(os.environ["AUTORESEARCH_RUN"]))["data_dir"]

raise RuntimeError(open(os.path.abspath(data + "/../manifest.json")).read(99))
