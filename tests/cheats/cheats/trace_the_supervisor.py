# ruff: noqa
# expect: FAILED SANDBOX_VIOLATION
"""Attaches a debugger to its parent."""

import ctypes, os

library = ctypes.CDLL(None, use_errno=True)
if library.ptrace(16, os.getppid(), None, None) != 0:
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
raise RuntimeError("attached")
