"""Ending a process with all its descendants, also those that left its group or session."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from trainer.sandbox import usage

KILL_ROUNDS = 200
ROUND_SECONDS = 0.02


def descendants(root: int) -> list[int]:
    """Descendants of a process; the root is not among them."""
    if Path("/proc/self/stat").exists():
        return usage.descendants(root)
    return _descendants_elsewhere(root)


async def kill_tree(root: int) -> None:
    """Stops, then kills, the process and all that descend from it. The parent still has to reap the root."""
    known = _stop_tree(root)
    for _ in range(KILL_ROUNDS):
        known.update(descendants(root))
        _signal_all(known, signal.SIGKILL)
        known = {pid for pid in known if is_alive(pid)}
        if not known:
            return
        await asyncio.sleep(ROUND_SECONDS)


def _stop_tree(root: int) -> set[int]:
    """Those that were stopped: one that runs on could fork while its parent is killed, and its child would
    then be nobody's."""
    known: set[int] = set()
    for _ in range(KILL_ROUNDS):
        new = {root, *descendants(root)} - known
        if not new:
            break
        known |= new
        if sys.platform != "win32":
            _signal_all(new, signal.SIGSTOP)
    return known


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


def _descendants_elsewhere(root: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(root).children(recursive=True)]
    except psutil.Error:
        return []
