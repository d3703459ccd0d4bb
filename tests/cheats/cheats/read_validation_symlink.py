# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""The same through a symbolic link in its own folder."""

import json, os

data = json.load(open(os.environ["AUTORESEARCH_RUN"]))["data_dir"]

os.symlink(os.path.abspath(data + "/../validation/rows.bin"), "link")
try:
    raise RuntimeError(open("link", "rb").read(9))
except FileNotFoundError as error:
    raise PermissionError("the link leads nowhere") from error
