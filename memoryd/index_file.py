"""The file that keeps the word indexes between two starts. A help only: without it a start takes longer."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

WORTH_WRITING = 1000  # texts that had to be taken apart at this start
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexFile:
    """`path` None: no snapshot is kept (a server's store without --index-snapshot)."""

    path: Path | None = None
    writable: bool = True

    @staticmethod
    def of(url: str, chosen: Path | None, *, writable: bool = True) -> IndexFile:
        """The chosen file, else one beside a SQLite file."""
        if chosen is None and url.startswith("sqlite:///"):
            database = Path(url.removeprefix("sqlite:///"))
            chosen = database.with_name(database.name + ".index")
        return IndexFile(chosen, writable)

    @property
    def wanted(self) -> bool:
        """Whether `write` would write."""
        return self.path is not None and self.writable

    def read(self) -> bytes | None:
        """What was written last, or None."""
        if self.path is None:
            return None
        try:
            return self.path.read_bytes()
        except OSError:
            return None

    def write(self, data: bytes) -> None:
        """Replaces the file whole. Never fails: a start without it only takes longer."""
        if self.path is None or not self.writable:
            return
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            os.replace(partial, self.path)
        except OSError as error:
            log.warning("the index snapshot %s cannot be written: %s", self.path, error)
            try:
                partial.unlink(missing_ok=True)
            except OSError:
                pass
