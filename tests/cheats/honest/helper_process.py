# ruff: noqa
# base: template
"""Runs a program and reads its answer."""

import subprocess

_version = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout
