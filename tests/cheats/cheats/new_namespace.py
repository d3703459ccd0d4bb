# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Makes a user namespace, where it would be root."""

import ctypes, os

library = ctypes.CDLL(None, use_errno=True)
if library.unshare(0x10000000) != 0:
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
raise RuntimeError("root of my own")
