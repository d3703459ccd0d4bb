# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Writes outside through a hard link."""

import os

os.link("@OUTSIDE@", "link")
open("link", "w").write("written")
raise RuntimeError("written")
