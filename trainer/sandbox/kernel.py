"""The few Linux calls that Python does not offer, through the C library."""

from __future__ import annotations

import ctypes
import os
import platform

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
# The same numbers on x86_64 and aarch64: all newer calls share them.
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}


def prctl(option: int, value: int) -> None:
    """Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(ctypes.c_int(option), ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def syscall(number: int, *arguments: int | ctypes.c_void_p | None) -> int:
    """The call's answer. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer = int(library.syscall(ctypes.c_long(number), *values))
    if answer < 0:
        number_ = ctypes.get_errno()
        raise OSError(number_, os.strerror(number_))
    return answer


def machine() -> str:
    """x86_64, aarch64 or another name."""
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def memory_file(name: str, data: bytes) -> int:
    """A descriptor, inherited by children, from which they read the data. Raises OSError."""
    descriptor = os.memfd_create(name, 0)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
