# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Connects to an abstract socket, which has no file."""

import socket

try:
    socket.socket(socket.AF_UNIX).connect("\0@ABSTRACT@")
except ConnectionRefusedError as error:
    raise PermissionError("nobody there") from error
raise RuntimeError("connected")
