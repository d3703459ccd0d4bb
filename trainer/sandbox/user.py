"""Another user for a candidate, where this process is root: an unused number, and one capability.

Reading is what the rules of Landlock allow, so CAP_DAC_READ_SEARCH takes nothing from them, and the daemon's
folders may stay closed to other users. All else that root could do, to other processes above all, is gone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from trainer.sandbox import kernel

FIRST_USER, USER_COUNT = 61_184, 4_336  # the range that systemd gives to services without a user
CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 0, 2, 6, 7, 8
NEEDED = (CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_SETGID, CAP_SETUID, CAP_SETPCAP)
PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 8, 47, 2
CAPABILITY_VERSION = 0x20080522


def spare_user(seed: int) -> int | None:
    """A user that has no name and no process; None where this process may not become another one."""
    if os.getuid() != 0 or not all(_effective() >> one & 1 for one in NEEDED):
        return None
    taken = _named_users() | _active_users()
    numbers = [FIRST_USER + (seed + step) % USER_COUNT for step in range(USER_COUNT)]
    return next((one for one in numbers if one not in taken and _is_mapped(one)), None)


def give_folders(folders: Iterable[str], user: int) -> None:
    """Makes a user the owner of folders and what is in them. Raises OSError."""
    for folder in folders:
        os.lchown(folder, user, user)
        for root, folders_below, files in os.walk(folder):
            for name in (*folders_below, *files):
                os.lchown(os.path.join(root, name), user, user)


def become(user: int) -> None:
    """This process, and all that descend from it, is that user from now on. Raises OSError."""
    kernel.prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    bit = 1 << CAP_DAC_READ_SEARCH
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; low, then high
    library = ctypes.CDLL(None, use_errno=True)
    if library.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    ambient = (ctypes.c_ulong(PR_CAP_AMBIENT_RAISE), ctypes.c_ulong(CAP_DAC_READ_SEARCH))
    if library.prctl(ctypes.c_int(PR_CAP_AMBIENT), *ambient, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_CAP_AMBIENT)")


def _effective() -> int:
    """This process's effective capabilities, as bits."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
            lines = [line.split() for line in stream]
    except OSError:
        return 0
    return next((int(line[1], 16) for line in lines if line[0] == "CapEff:"), 0)


def _named_users() -> set[int]:
    try:
        with open("/etc/passwd", encoding="utf-8", errors="replace") as stream:
            fields = [line.split(":") for line in stream]
    except OSError:
        return set()
    return {int(one[2]) for one in fields if len(one) > 2 and one[2].isdecimal()}


def _active_users() -> set[int]:
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                found.add(os.stat(f"/proc/{entry}").st_uid)
            except OSError:
                continue  # it went away
    return found


def _is_mapped(user: int) -> bool:
    """Whether this process's user namespace has the number, as a user and as a group."""
    for name in ("uid_map", "gid_map"):
        try:
            with open(f"/proc/self/{name}", encoding="ascii") as stream:
                ranges = [[int(number) for number in line.split()] for line in stream]
        except OSError:
            return False
        if not any(first <= user < first + count for first, _, count in ranges):
            return False
    return True
