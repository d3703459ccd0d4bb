"""One process per lab. The lock is the operating system's: it ends with its holder, however that ends."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from services.errors import FailedPreconditionError, ResourceExhaustedError, is_full_disk

LOCK_NAME = "lock"


class LabLock:
    """Held from `acquire` to `release`. The file tells others who holds it, as JSON."""

    def __init__(self, state: Path, holder: dict[str, object]) -> None:
        self._path = state / LOCK_NAME
        self._holder = holder
        self._file: IO[str] | None = None

    def acquire(self) -> Self:
        """Raises FailedPreconditionError: LAB_LOCKED when another process holds the lab, LAB_READ_ONLY."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise unwritable(self._path.parent, error) from error
        if not _try_lock(file):
            file.close()
            holder = _describe(read_holder(self._path.parent))
            raise FailedPreconditionError(
                f"the lab {self._path.parent.parent} is in use by {holder}: stop that one or talk to it",
                reason="LAB_LOCKED",
            )
        try:
            file.seek(0)
            file.truncate()
            file.write(json.dumps(self._holder | {"pid": os.getpid()}) + "\n")
            file.flush()
        except OSError as error:
            _close(file)
            raise unwritable(self._path.parent, error) from error
        self._file = file
        return self

    def release(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.seek(0)
                self._file.truncate()
            _close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def read_holder(state: Path) -> dict[str, object]:
    """What the lock's file says of its holder; empty when nobody wrote."""
    try:
        holder = json.loads((state / LOCK_NAME).read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def is_locked(state: Path) -> bool:
    """Whether a process holds the lab now. Changes nothing."""
    try:
        with (state / LOCK_NAME).open("r+", encoding="utf-8") as file:
            return not _try_lock(file)
    except OSError:
        return False


def unwritable(path: Path, error: OSError) -> FailedPreconditionError | ResourceExhaustedError:
    """The error of our tree for a folder that cannot be written."""
    if is_full_disk(error):
        return ResourceExhaustedError(
            f"the disk of {path} is full: free some space and start again", reason="STORE_FULL"
        )
    return FailedPreconditionError(
        f"lab: {path} cannot be written ({error.strerror or error}): check its owner and that the disk is "
        "not read-only, or name another folder with --lab",
        reason="LAB_READ_ONLY",
    )


def _describe(holder: dict[str, object]) -> str:
    text = f"process {holder.get('pid', 'unknown')}"
    return f"{text}, reachable at {holder['grpc']}" if holder.get("grpc") else text


def _close(file: IO[str]) -> None:
    """Closes the descriptor, and with it the lock, even where the last bytes cannot be written."""
    with contextlib.suppress(OSError):
        file.close()


def _try_lock(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(2**20)  # beyond the text, so that others can read who holds it
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
