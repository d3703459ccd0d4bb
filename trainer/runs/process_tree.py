"""Ending a process with all its descendants, also those that left its group or session."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from pathlib import Path

KILL_ROUNDS = 200
ROUND_SECONDS = 0.02


def descendants(root: int) -> list[int]:
    """Living descendants of a process, parents first; the root is not among them."""
    if not Path("/proc/self/stat").exists():
        return _descendants_elsewhere(root)
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := _parent(int(entry))) is not None:
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found


async def kill_tree(root: int) -> None:
    """Stops, then kills, the process and all that descend from it. The parent still has to reap the root."""
    known = {root}
    for _ in range(KILL_ROUNDS):
        known.update(descendants(root))
        _signal_all(known, signal.SIGKILL)
        known = {pid for pid in known if is_alive(pid)}
        if not known:
            return
        await asyncio.sleep(ROUND_SECONDS)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    if Path("/proc/self/stat").exists():
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return text.rpartition(")")[2].split()[0] not in ("Z", "X")
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _parent(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[1])


def _descendants_elsewhere(root: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(root).children(recursive=True)]
    except psutil.Error:
        return []
