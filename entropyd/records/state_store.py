"""What must outlive the process: signing key, receipt chain, seed packs. One SQLite file and one key file."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from entropyd.records.receipts import NO_RECEIPT, Receipt
from services.errors import ConfigurationError, ResourceExhaustedError

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS receipt (
  number INTEGER PRIMARY KEY, draw_id TEXT NOT NULL, content_hash BLOB NOT NULL, statement TEXT NOT NULL,
  previous_hash BLOB NOT NULL, signature BLOB NOT NULL, verify_key BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS seed_pack (
  pack_id TEXT PRIMARY KEY, session_id TEXT NOT NULL, seed_count INTEGER NOT NULL, master BLOB NOT NULL,
  commitment BLOB NOT NULL, revealed INTEGER NOT NULL, receipt_number INTEGER NOT NULL,
  create_time TEXT NOT NULL, provenance TEXT NOT NULL);
"""


@dataclass(frozen=True)
class StoredPack:
    """`revealed` seeds, counted from the first, have been shown; `provenance` is JSON."""

    pack_id: str
    session_id: str
    seed_count: int
    master: bytes
    commitment: bytes
    revealed: int
    receipt: Receipt
    create_time: str
    provenance: str


class StateStore(AbstractContextManager["StateStore"]):
    """Opens or makes `folder`. Seed packs are on the disk when a call returns; of the receipts a power
    cut may lose the last ones, a killed process loses none. Raises ConfigurationError when the folder
    cannot be used, is in use, or was written by a newer version."""

    def __init__(self, folder: Path, *, keep_receipts: int = 1_000_000) -> None:
        self._keep_receipts = keep_receipts
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.private_key = _read_or_make_key(folder / "signing.key")
            path = folder / "entropyd.db"
            new = not path.exists()
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=1.0)
            if new:
                path.chmod(0o600)
            self._database.execute("PRAGMA locking_mode=EXCLUSIVE")  # two writers would fork the chain
            self._database.execute("PRAGMA journal_mode=WAL")
            self._set_up(path)
        except sqlite3.OperationalError as error:
            why = "another entropyd uses it" if "locked" in str(error) else str(error)
            raise ConfigurationError(f"--state: cannot use {str(folder)!r}: {why}") from error
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"--state: cannot use {str(folder)!r}: {error}") from error
        row = self._database.execute("SELECT max(number) FROM receipt").fetchone()
        self._last_number = row[0] or 0
        self.last_receipt_hash = self._receipt(self._last_number).receipt_hash if row[0] else NO_RECEIPT

    def _set_up(self, path: Path) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise ConfigurationError(f"--state: {str(path)!r} was written by a newer version of entropyd")
        self._database.executescript(_SCHEMA)
        self._database.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def add_receipt(self, receipt: Receipt) -> None:
        """Appends to the chain; the oldest beyond the limit are dropped, packs keep theirs."""
        with self._lock:
            self._write("NORMAL", [self._receipt_insert(receipt)])
            self._advance(receipt)
            if self._last_number % 1000 == 0:
                horizon = self._last_number - self._keep_receipts
                self._database.execute(
                    "DELETE FROM receipt WHERE number <= ? AND number NOT IN "
                    "(SELECT receipt_number FROM seed_pack)",
                    (horizon,),
                )

    def add_pack(self, pack: StoredPack) -> None:
        """Stores the pack with its receipt, whole or not at all. Raises KeyError when the id is taken."""
        values = (
            pack.pack_id, pack.session_id, pack.seed_count, pack.master, pack.commitment, pack.revealed,
            self._last_number + 1, pack.create_time, pack.provenance,
        )  # fmt: skip
        insert = "INSERT INTO seed_pack VALUES (?,?,?,?,?,?,?,?,?)"
        with self._lock:
            try:
                self._write("FULL", [self._receipt_insert(pack.receipt), (insert, values)])
            except sqlite3.IntegrityError as error:
                raise KeyError(pack.pack_id) from error
            self._advance(pack.receipt)

    def find_pack(self, pack_id: str) -> StoredPack | None:
        row = self._database.execute("SELECT * FROM seed_pack WHERE pack_id = ?", (pack_id,)).fetchone()
        if row is None:
            return None
        pack_id, session_id, seed_count, master, commitment, revealed, number, create_time, provenance = row
        receipt = self._receipt(number)
        return StoredPack(
            pack_id, session_id, seed_count, master, commitment, revealed, receipt, create_time, provenance
        )

    def mark_revealed(self, pack_id: str, revealed: int) -> None:
        """Raises the count of revealed seeds; never lowers it."""
        statement = "UPDATE seed_pack SET revealed = max(revealed, ?) WHERE pack_id = ?"
        with self._lock:
            self._write("FULL", [(statement, (revealed, pack_id))])

    def receipts(self, limit: int) -> list[Receipt]:
        """The newest `limit` receipts, oldest first."""
        rows = self._database.execute("SELECT * FROM receipt ORDER BY number DESC LIMIT ?", (limit,))
        return [Receipt(*row[1:]) for row in reversed(rows.fetchall())]

    def _receipt(self, number: int) -> Receipt:
        row = self._database.execute("SELECT * FROM receipt WHERE number = ?", (number,)).fetchone()
        return Receipt(*row[1:])

    def _receipt_insert(self, receipt: Receipt) -> tuple[str, tuple[object, ...]]:
        values = (
            self._last_number + 1, receipt.draw_id, receipt.content_hash, receipt.statement,
            receipt.previous_hash, receipt.signature, receipt.verify_key,
        )  # fmt: skip
        return "INSERT INTO receipt VALUES (?,?,?,?,?,?,?)", values

    def _advance(self, receipt: Receipt) -> None:
        self._last_number += 1
        self.last_receipt_hash = receipt.receipt_hash

    def _write(self, synchronous: str, steps: list[tuple[str, tuple[object, ...]]]) -> None:
        try:
            self._database.execute(f"PRAGMA synchronous={synchronous}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                for statement, values in steps:
                    self._database.execute(statement, values)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise ResourceExhaustedError(
                f"the state folder cannot be written: {error}", reason="STATE_NOT_WRITABLE"
            ) from error


def _read_or_make_key(path: Path) -> bytes:
    if not path.exists():
        part = path.with_suffix(".part")
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(os.urandom(32))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    key = path.read_bytes()
    if len(key) != 32:
        raise ConfigurationError(f"--state: {str(path)!r} is damaged: a key has 32 bytes, not {len(key)}")
    return key
