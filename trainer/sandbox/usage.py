"""How much a process tree uses, read from /proc; standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterable

SLIGHT_KIB = 65_536


def descendants(root: int) -> list[int]:
    """Descendants of a process that have not been reaped, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            children.setdefault(_parent(entry), []).append(int(entry))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def measure_tree(root: int) -> tuple[int, int]:
    """(bytes, tasks): private memory of all descendants plus the memory that they share, or what they hold in
    files that exist in memory only if that is more, and their threads."""
    private = tasks = 0
    shared: dict[int, int] = {}
    held: dict[tuple[int, int], int] = {}
    for pid in descendants(root):
        held |= _memory_files(pid)
        fields = _status(pid)
        private += fields.get("RssAnon", 0) + fields.get("VmSwap", 0)
        shared[pid] = fields.get("RssShmem", 0)
        tasks += fields.get("Threads", 0)
    return private * 1024 + max(_shared_together(shared) * 1024, sum(held.values())), tasks


def _shared_together(shared: dict[int, int]) -> int:
    """KiB of shared memory that processes use together: what each counts may be the same, and may not. The
    exact share of each takes longer to read, which is done where it matters."""
    largest = max(shared.values(), default=0)
    if sum(shared.values()) <= largest + SLIGHT_KIB:
        return largest
    shares = (_fields(f"/proc/{pid}/smaps_rollup", ("Pss_Shmem",)) for pid, one in shared.items() if one)
    return max(largest, sum(one.get("Pss_Shmem", 0) for one in shares))


def _memory_files(pid: int) -> dict[tuple[int, int], int]:
    """Device and number of each memory file that a process has open, and the bytes that it takes."""
    found: dict[tuple[int, int], int] = {}
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return found  # it went away
    for name in names:
        try:
            if os.readlink(f"{folder}/{name}").startswith("/memfd:"):
                status = os.stat(f"{folder}/{name}")
                found[status.st_dev, status.st_ino] = status.st_blocks * 512
        except OSError:
            continue  # closed meanwhile
    return found


def measure_scratch(folders: Iterable[str]) -> tuple[int, int]:
    """(bytes on disk, files) below the folders; links are not followed."""
    size = files = 0
    waiting = list(folders)
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # it went away while being counted
    return size, files


def _parent(entry: str) -> int:
    try:
        with open(f"/proc/{entry}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return -1


def _status(pid: int) -> dict[str, int]:
    return _fields(f"/proc/{pid}/status", ("RssAnon", "RssShmem", "VmSwap", "Threads"))


def _fields(path: str, names: tuple[str, ...]) -> dict[str, int]:
    """Numbers by name from lines like `Threads: 3`; what is not there is left out."""
    found = {}
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            for line in stream:
                name, _, value = line.partition(":")
                if name in names:
                    found[name] = int(value.split()[0])
    except (OSError, ValueError, IndexError):
        pass
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of all descendants, those that have ended and been waited for included."""
    ticks = 0
    for pid in descendants(root):
        try:
            with open(f"/proc/{pid}/stat", "rb") as stream:
                fields = stream.read().rpartition(b")")[2].split()
            ticks += sum(int(value) for value in fields[11:15])
        except (OSError, IndexError, ValueError):
            continue  # it went away
    return ticks / os.sysconf("SC_CLK_TCK")


class CpuMeter:
    """CPU time of all descendants of a process, counted from this one's beginning on.

    The kernel adds a child's time to its parent's once that has waited for it, but not where the parent
    ignores SIGCHLD: what nobody was told of is kept from the last time that it was seen. Read it often.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._alive: dict[tuple[int, bytes], float] = {}
        self._gone = self._most = 0.0

    def seconds(self) -> float:
        """Never less than before."""
        alive, told = {}, 0.0
        for pid in (self._root, *descendants(self._root)):
            if (times := _times(pid)) is not None:
                start, own, waited_for = times
                told += waited_for
                if pid != self._root:
                    told += own
                    alive[pid, start] = own
        self._gone += sum(own for one, own in self._alive.items() if one not in alive)
        self._alive = alive
        self._most = max(self._most, told, self._gone + sum(alive.values()))
        return self._most


def _times(pid: int) -> tuple[bytes, float, float] | None:
    """When it started, its own CPU seconds, and those of children that it has waited for."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        own, waited_for = (sum(map(int, fields[one : one + 2])) / ticks for one in (11, 13))
        return fields[19], own, waited_for
    except (OSError, IndexError, ValueError):
        return None  # it went away
