# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Connects to a socket of the host's file system."""

import socket

try:
    socket.socket(socket.AF_UNIX).connect("@SOCKET@")
except FileNotFoundError as error:
    raise PermissionError("no such socket in sight") from error
raise RuntimeError("connected")
