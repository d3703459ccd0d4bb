"""Notices a lost volume: a small file knows that the store was not empty; starting on an empty one fails."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from memoryd.backend import MemoryBackend
from services.errors import ConfigurationError


@dataclass(frozen=True)
class Sentinel:
    """`path` None: nothing is watched (a server's store without --sentinel)."""

    path: Path | None
    database: Path | None
    url: str

    @staticmethod
    def of(url: str, chosen: Path | None) -> Sentinel:
        """The sentinel of a store: the chosen file, else one beside a SQLite file."""
        database = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
        beside = database.with_name(database.name + ".sentinel") if database is not None else None
        return Sentinel(chosen or beside, database, url.rpartition("@")[2])

    def check_before_opening(self, *, accept_empty: bool) -> None:
        """Raises ConfigurationError when the file of a store that was not empty is gone."""
        if (
            self.database is not None
            and not self.database.exists()
            and self._remembers()
            and not accept_empty
        ):
            raise self._lost()

    async def check(self, backend: MemoryBackend, *, accept_empty: bool) -> None:
        """Raises ConfigurationError when a store that was not empty is empty now."""
        if accept_empty or not self._remembers():
            return
        status = await backend.status()
        if status.row_count == 0 and status.last_sequence == 0:
            raise self._lost()

    def note(self) -> None:
        """Writes down that the store holds something. Never fails: it is a help, not a duty."""
        if self.path is None or self._remembers():
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"store": self.url, "held_memories": True}) + "\n", "utf-8")
        except OSError:
            pass

    def _remembers(self) -> bool:
        return self.path is not None and self.path.exists()

    def _lost(self) -> ConfigurationError:
        return ConfigurationError(
            f"--backend: {self.url} is empty, but {self.path} says that it held memories: is the volume "
            "mounted? Mount it or restore a backup; to start empty, give --accept-empty-store once and "
            "delete that file",
            reason="STORE_LOST",
        )
