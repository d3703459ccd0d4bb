"""The lab's address file and the lock of the process that started its daemons."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self


@dataclass(frozen=True)
class DaemonAddress:
    pid: int
    grpc: str
    http: str


def write_addresses(path: Path, daemons: Mapping[str, DaemonAddress]) -> None:
    """Replaces the file as a whole. Raises OSError."""
    text = json.dumps({name: asdict(address) for name, address in daemons.items()}, indent=1)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def read_addresses(path: Path) -> dict[str, DaemonAddress]:
    """What the file says; empty when it is absent or was damaged by hand."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): DaemonAddress(int(entry["pid"]), str(entry["grpc"]), str(entry["http"]))
            for name, entry in entries.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


class LaunchLock(AbstractContextManager["LaunchLock"]):
    """Held by the process whose children the lab's daemons are; the system frees it when that ends.

    `held` tells whether this process got it. The file holds the owner's pid for people.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def try_acquire(self) -> bool:
        """Takes the lock if nobody has it. Raises OSError when the file cannot be made."""
        if self._file is not None:
            return True
        file = self._path.open("a+b")
        if not _lock(file):
            file.close()
            return False
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        self._file = file
        return True

    def owner(self) -> str:
        """The pid in the file, or "?"."""
        try:
            return self._path.read_text(encoding="utf-8").strip() or "?"
        except OSError:
            return "?"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: BinaryIO) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            file.seek(1 << 30)  # beyond the pid, so that others may read it
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
