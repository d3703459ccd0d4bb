"""Online copies of a SQLite store, taken in short steps, and their way back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path

import apsw

from memoryd.backend import BackupResult
from memoryd.sqlite.folder import sync_folder
from memoryd.sqlite.schema import check_version, verify_pages
from memoryd.sqlite.writer import explain
from services.errors import ConfigurationError, DataLossError, ResourceExhaustedError, UnavailableError

PAGES_PER_STEP = 256  # 1 MiB: a few milliseconds during which batches wait


class BackupSteps:
    """Copies the store page by page; call with the live connection until it answers False."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._target: apsw.Connection | None = None
        self._backup: apsw.Backup | None = None

    def __call__(self, connection: apsw.Connection) -> bool:
        """Whether there is more to copy. Raises ServiceErrors that name the copy, not the store."""
        try:
            return self._step(connection)
        except apsw.FullError as error:
            raise ResourceExhaustedError(
                f"there is no room for the copy {self._path}; free space or name another disk",
                reason="STORE_FULL",
            ) from error
        except (apsw.IOError, apsw.CantOpenError, apsw.BusyError, OSError) as error:
            raise UnavailableError(
                f"the copy {self._path} failed ({error}); the store itself goes on",
                reason="STORE_UNREACHABLE",
            ) from error

    def _step(self, connection: apsw.Connection) -> bool:
        if self._backup is None:
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            self._partial.unlink(missing_ok=True)
            self._target = apsw.Connection(str(self._partial))
            self._backup = self._target.backup("main", connection, "main")
        self._backup.step(PAGES_PER_STEP)
        if not self._backup.done:
            return True
        self._backup.finish()
        self._backup = None
        assert self._target is not None
        self._target.pragma("journal_mode", "DELETE")
        self._target.close()
        self._target = None
        os.replace(self._partial, self._path)
        return False

    def close(self, connection: apsw.Connection) -> None:
        """Removes what an unfinished copy left."""
        if self._backup is not None:
            self._backup.close(True)
        if self._target is not None:
            self._target.close(True)
        self._partial.unlink(missing_ok=True)


def backup_steps(path: Path) -> BackupSteps:
    return BackupSteps(path)


async def finish_backup(path: Path) -> BackupResult:
    """Checks, hashes and syncs a finished copy, off the event loop."""
    result = await asyncio.to_thread(describe_copy, path)
    await asyncio.to_thread(sync_folder, path.parent)
    return result


def describe_copy(path: Path) -> BackupResult:
    """Size, rows and hash of a store file that nobody has open. Raises DataLossError when damaged."""
    connection = apsw.Connection(path.as_uri() + "?immutable=1", flags=_READ_FLAGS)
    try:
        verify_pages(connection, str(path))
        if check_version(connection, str(path)) == 0:  # an older one is migrated when it is opened
            raise ConfigurationError(f"{path} is an empty file, not a store")
        counted = connection.execute("SELECT count(*) FROM memory").fetchone()
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise DataLossError(
            f"{path} is no intact copy of a store: {error}", reason="STORE_CORRUPT"
        ) from error
    except apsw.Error as error:
        raise explain(error) from error
    finally:
        connection.close()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        os.fsync(file.fileno())
    return BackupResult(path.stat().st_size, int(counted[0]) if counted else 0, digest.hexdigest())


def restore_copy(source: Path, target: Path) -> BackupResult:
    """Puts a checked copy where a store shall be.

    Raises ConfigurationError when `target` exists, or one of the two cannot be read or written, and
    DataLossError for a damaged copy.
    """
    source, target = source.absolute(), target.absolute()
    if not source.is_file():
        raise ConfigurationError(f"--from: {source} is not a file; name one that a backup wrote")
    for name in (target, target.with_name(target.name + "-wal")):
        if name.exists():
            raise ConfigurationError(f"restore: {name} exists; move it away first, it is never overwritten")
    result = describe_copy(source)
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file, partial.open("wb") as copy:
            while chunk := file.read(1 << 20):
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        os.replace(partial, target)
        sync_folder(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ConfigurationError(f"--to: cannot write {target}: {error.strerror}") from error
    return result


_READ_FLAGS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
