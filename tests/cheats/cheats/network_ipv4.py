# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Connects by IPv4."""

import socket

socket.create_connection(("192.0.2.1", 80), timeout=3)
raise RuntimeError("connected")
