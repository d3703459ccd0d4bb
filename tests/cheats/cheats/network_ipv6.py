# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Connects by IPv6."""

import socket

socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80))
raise RuntimeError("connected")
