"""A cap on processes that the kernel itself holds: a watchdog alone is slower than a fork bomb.

A control group where this process may make one; otherwise RLIMIT_NPROC, which does not bind root.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

_ROOTS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))


def kernel_cap(limit: int) -> int:
    """What the kernel holds where the watchdog holds `limit`: more, so that the watchdog sees its cap broken
    and can name it. RLIMIT_NPROC counts processes of the same user in other containers, which are not seen
    here: the room is for those too."""
    return limit + limit // 2 + 8


def make_group(limit: int, roots: tuple[Path, ...] = _ROOTS) -> Path | None:
    """A new control group for at most `limit` processes and threads; None where that is not allowed."""
    for root in roots:
        group = root / f"autoresearch-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "pids.max").write_text(str(limit))
            return group
        except OSError:
            remove_group(group)
    return None


def enter_group(group: Path) -> None:
    """Moves this process into the group. Raises OSError."""
    (group / "cgroup.procs").write_text(str(os.getpid()))


def remove_group(group: Path) -> None:
    """Once its last process is gone; otherwise it stays."""
    try:
        group.rmdir()
    except OSError:
        pass


def limit_processes(limit: int, user: int) -> None:
    """RLIMIT_NPROC for this process, that is or becomes the user: what that has running, and `limit` more."""
    wanted = limit + count_tasks(user)
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (wanted, wanted))


def count_tasks(user: int) -> int:
    """Processes and threads of a user that can be seen."""
    count = 0
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.stat(f"/proc/{entry}").st_uid == user:
                count += len(os.listdir(f"/proc/{entry}/task"))
        except OSError:
            continue  # it went away
    return count
