# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Asks for an address."""

import socket

try:
    socket.getaddrinfo("example.org", 80)
except socket.gaierror as error:
    raise PermissionError(f"no name resolution: {error}") from error
raise RuntimeError("resolved")
