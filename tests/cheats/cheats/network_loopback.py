# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Connects to a server on this machine."""

import socket

socket.create_connection(("127.0.0.1", int("@PORT@")), timeout=3)
raise RuntimeError("connected")
