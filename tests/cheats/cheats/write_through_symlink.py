# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Writes outside through a symbolic link."""

import os

os.symlink("@OUTSIDE@", "link")
try:
    open("link", "w").write("written")
except FileNotFoundError as error:
    raise PermissionError("the link leads nowhere") from error
raise RuntimeError("written")
