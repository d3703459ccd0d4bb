# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""The same through a hard link, which would keep the file's own rights."""

import json, os

data = json.load(open(os.environ["AUTORESEARCH_RUN"]))["data_dir"]

os.link(os.path.abspath(data + "/../validation/rows.bin"), "link")
raise RuntimeError(open("link", "rb").read(9))
