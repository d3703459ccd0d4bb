"""Landlock: this process and all that descend from it see only the files named here, or all but some."""

from __future__ import annotations

import ctypes
import os
import stat
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence, Set

from trainer.sandbox.kernel import (
    SYS_LANDLOCK_ADD_RULE,
    SYS_LANDLOCK_CREATE_RULESET,
    SYS_LANDLOCK_RESTRICT_SELF,
    syscall,
)

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
# All rights that a version of Landlock knows; a right that is not handled is not restricted.
RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
BIND_TCP, CONNECT_TCP = 1, 2
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2
RULE_PATH_BENEATH = 1
CREATE_RULESET_VERSION = 1


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_version() -> int:
    """The kernel's version of Landlock; 0 where there is none."""
    try:
        return syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    except OSError:
        return 0


def restrict_files(
    read: Iterable[str], write: Iterable[str], masked: Iterable[str], devices: Iterable[str] = ()
) -> None:
    """Allows reading below `read` but not `masked`, everything below `write`, and use of `devices`.

    Needs no_new_privs. From version 4 on TCP is closed, from 6 on signals and abstract sockets stay inside.
    Raises OSError.
    """
    version = landlock_version()
    handled = RIGHTS[min(version, 5)]
    attributes = _RulesetAttributes(
        handled,
        BIND_TCP | CONNECT_TCP if version >= 4 else 0,
        SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if version >= 6 else 0,
    )
    ruleset = _create_ruleset(attributes, version)
    hidden = sorted(os.path.realpath(path) for path in masked)
    numbers = _linked(hidden)
    for path in read:
        for allowed, rights in _without(os.path.realpath(path), hidden, numbers):
            _allow(ruleset, allowed, rights & handled)
    for path in write:
        _allow(ruleset, path, handled & ~(EXECUTE | IOCTL_DEV) | READ)
    for path in devices:
        _allow(ruleset, path, (READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV) & handled)
    syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def hide_files(masked: Iterable[str]) -> None:
    """Refuses to read what is masked and restricts nothing else. Needs no_new_privs. Raises OSError."""
    version = landlock_version()
    # Moves between folders are refused by every ruleset that does not allow them.
    moves = REFER if version >= 2 else 0
    ruleset = _create_ruleset(_RulesetAttributes(READ_FILE | moves, 0, 0), version)
    _allow(ruleset, "/", moves)
    hidden = sorted(os.path.realpath(path) for path in masked)
    for allowed, rights in _without("/", hidden, _linked(hidden)):
        _allow(ruleset, allowed, rights & READ_FILE)
    syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _create_ruleset(attributes: _RulesetAttributes, version: int) -> int:
    size = 8 if version < 4 else 16 if version < 6 else 24
    pointer = ctypes.cast(ctypes.byref(attributes), ctypes.c_void_p)
    return syscall(SYS_LANDLOCK_CREATE_RULESET, pointer, size, 0)


def _without(path: str, hidden: Sequence[str], linked: Set[int]) -> Iterator[tuple[str, int]]:
    """Rules that allow reading a path but for what is hidden below it (sorted): its folders can be listed,
    and each child without anything hidden is allowed as a whole."""
    inside = _below(path, hidden)
    if not inside:
        if path not in hidden:
            yield path, READ
        return
    yield path, READ_DIR
    with os.scandir(path) as children:
        for child in children:
            if child.path in inside or child.is_symlink():
                continue
            if child.inode() in linked and not child.is_dir():
                continue  # a rule for another name of the same file would allow what is hidden
            if child.is_dir():
                yield from _without(child.path, inside, linked)
            else:
                yield child.path, READ


def _linked(hidden: Iterable[str]) -> set[int]:
    """The numbers of hidden files that have other names as well."""
    numbers = set()
    for path in hidden:
        try:
            status = os.stat(path)
        except OSError:
            continue  # what is not there cannot be read
        if status.st_nlink > 1:
            numbers.add(status.st_ino)
    return numbers


def _below(path: str, hidden: Sequence[str]) -> Sequence[str]:
    """Those of the sorted paths that lie below a folder: they stand together."""
    folder = path.rstrip("/") + "/"
    first = bisect_left(hidden, folder)
    return hidden[first : bisect_left(hidden, folder[:-1] + chr(ord("/") + 1), first)]


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no rule
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ON_FILES
        if not rights:
            return
        rule = _PathRule(rights, descriptor)
        pointer = ctypes.cast(ctypes.byref(rule), ctypes.c_void_p)
        syscall(SYS_LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, pointer, 0)
    finally:
        os.close(descriptor)
