"""The ledger's file: opening, versions, transactions, errors of the disk as errors of our tree."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.ledger.schema import SCHEMA, SCHEMA_VERSION
from services.errors import (
    DataLossError,
    FailedPreconditionError,
    InternalError,
    ResourceExhaustedError,
    ServiceError,
)


class LedgerDatabase:
    """One connection, used from one thread. A write is on the disk when its transaction has ended."""

    def __init__(self, path: Path, *, read_only: bool = False, may_be_new: bool = True) -> None:
        """Opens or makes the file; one without tables is damage unless it `may_be_new`.

        Raises FailedPreconditionError (LAB_READ_ONLY, LEDGER_TOO_NEW), DataLossError (LEDGER_CORRUPT),
        ResourceExhaustedError (STORE_FULL).
        """
        self.path = path
        with translated(path):
            mode = "ro" if read_only else "rwc"
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10.0
            )
            self._connection.row_factory = sqlite3.Row
            is_new = self._is_new(read_only, may_be_new)
            if not read_only:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._depth = 0
            if is_new:
                self._make()

    @property
    def lab_id(self) -> str:
        """Eight hexadecimal digits, drawn when the ledger was made."""
        return str(self.one("SELECT value FROM meta WHERE name='lab_id'")["value"])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; durable at the end. An inner transaction joins the outer one."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        with translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # COMMIT may have rolled back already
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        with translated(self.path):
            return self._connection.execute(statement, values)

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with translated(self.path):
            return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, *values: Any) -> sqlite3.Row:
        """The first row. Raises InternalError when there is none."""
        found = self.rows(statement, *values)
        if not found:
            raise InternalError(f"the ledger {self.path} has no row for {statement!r} {values!r}")
        return found[0]

    def close(self) -> None:
        self._connection.close()

    def _is_new(self, read_only: bool, may_be_new: bool) -> bool:
        """Whether the tables are to be made. Changes nothing."""
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise FailedPreconditionError(
                f"the ledger {self.path} was written by a newer version (format {version}, this program "
                f"reads {SCHEMA_VERSION}): install the newer version",
                reason="LEDGER_TOO_NEW",
            )
        if version == SCHEMA_VERSION:
            return False
        if not may_be_new:
            raise damaged_file(self.path, "it is empty")
        if read_only:
            raise FailedPreconditionError(f"{self.path} is not a ledger yet", reason="SESSION_NOT_FOUND")
        return True

    def _make(self) -> None:
        self._connection.executescript(
            f"BEGIN IMMEDIATE; {SCHEMA}"
            f"INSERT INTO meta VALUES ('lab_id', '{uuid.uuid4().hex[:8]}');"
            f"PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
        )


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns errors of SQLite into errors that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error


def explain(error: sqlite3.Error, path: Path) -> ServiceError:
    text = str(error)
    if "readonly" in text or "read-only" in text or "unable to open" in text:
        return FailedPreconditionError(
            f"the ledger {path} cannot be written ({text}): check the owner of the lab and that its disk is "
            "not read-only",
            reason="LAB_READ_ONLY",
        )
    if "full" in text:
        return ResourceExhaustedError(
            f"the disk of {path} is full: free some space and start again; nothing is lost",
            reason="STORE_FULL",
        )
    if "malformed" in text or "not a database" in text:
        return damaged_file(path, text)
    return InternalError(f"the ledger {path} failed: {text}")


def damaged_file(path: Path, how: str) -> DataLossError:
    return DataLossError(
        f"the lab's ledger {path} is damaged ({how}): restore it from a copy, or move it away to begin anew "
        "(the kept commits stay on the branch)",
        reason="LEDGER_CORRUPT",
    )
