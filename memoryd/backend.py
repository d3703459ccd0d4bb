"""The seam between the memory engine and what keeps its data.

The engine holds an index of the whole store in memory (texts, terms, vectors, records, edges), loaded once
at the start by `scan` and `scan_edges`, so that search answers alike over every backend. A backend only has
to keep things durably and give them back. Exactly one engine writes to a store at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from memoryd.memory import Batch, Edge, Event, Memory
from services.errors import ConfigurationError
from services.outgoing_https import SYSTEM_TRUST, HttpsTrust


class Capability(StrEnum):
    """What a backend can do; a missing one is shown in the status and answered CAPABILITY_MISSING."""

    ATOMIC = "atomic"  # a batch is stored whole or not at all
    VECTORS = "vectors"  # vectors are given back
    RECORDS = "records"  # record updates are stored
    VALUES = "values"  # named values are stored (identity, idempotency keys, clock, dream plan)
    EVENTS = "events"  # events are stored
    BACKUP = "backup"  # an online copy can be written


EVERY_CAPABILITY = frozenset(Capability)


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """Counts as the backend stores them. `place` names scheme and place, never a password.

    `durable`: an acknowledged change outlives a power cut, as far as the backend can know.
    """

    place: str
    row_count: int
    edge_count: int
    highest_id: int  # highest memory id ever stored, deleted ones included, 0 for none
    last_sequence: int  # sequence of the newest event, 0 for none
    warnings: tuple[str, ...] = ()
    durable: bool = True


@dataclass(frozen=True, slots=True)
class BackupResult:
    byte_count: int
    row_count: int
    sha256: str


class MemoryBackend(Protocol):
    """Keeps memories, edges, values and events.

    Methods may be called concurrently from one event loop. Batches become durable in the order in which
    `apply` was called; several waiting ones may share one sync. Reads see every batch whose `apply` has
    returned. Every method raises UnavailableError (STORE_UNREACHABLE) when the store cannot be reached,
    DataLossError (STORE_CORRUPT) when stored data is damaged, and nothing else than ServiceErrors.
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend can do; fixed after opening."""

    async def apply(self, batch: Batch) -> None:
        """Stores a batch; durable when this returns. Applying the same batch twice changes nothing more.

        Without ATOMIC a failure may leave a part. Parts that a missing capability excludes (updates,
        values, events) are ignored in silence: the engine asks `capabilities` first.
        Raises ResourceExhaustedError (STORE_FULL), FailedPreconditionError (STORE_READ_ONLY).
        """

    async def scan(self, after_id: int, limit: int) -> list[Memory]:
        """At most `limit` memories with an id greater than `after_id` (-1 for all), by ascending id."""

    async def scan_edges(self, after_pair: tuple[int, int], limit: int) -> list[Edge]:
        """At most `limit` edges whose pair is greater than `after_pair` ((-1, -1) for all), ascending."""

    async def read_value(self, name: str) -> str | None:
        """A named value, or None. Without VALUES always None."""

    async def read_events(self, after_sequence: int, limit: int) -> list[Event]:
        """At most `limit` kept events after a sequence, ascending. At least the newest 10,000 are kept."""

    async def status(self) -> BackendStatus:
        """Counts and warnings."""

    async def backup(self, path: Path) -> BackupResult:
        """Writes a consistent copy to `path`, which must not exist, while the store serves.

        Raises UnsupportedError (CAPABILITY_MISSING) without BACKUP, AlreadyExistsError (PATH_EXISTS),
        ResourceExhaustedError (STORE_FULL).
        """

    async def close(self) -> None:
        """Ends connections; waits for batches already given. Safe to call twice."""


async def open_backend(
    url: str, *, read_only: bool = False, trust: HttpsTrust = SYSTEM_TRUST
) -> MemoryBackend:
    """Opens the backend that a URL names, creating an empty store where there is none.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user@host/database`,
    `ferricula+http(s)://host:8765`, whose certificate `trust` is about. Raises ConfigurationError for an
    unknown scheme, a store that a newer version wrote, a lost volume or a missing driver; UnavailableError
    when a server does not answer.
    """
    scheme = url.partition(":")[0].lower()
    match scheme:
        case "sqlite":
            from memoryd.sqlite.backend import open_sqlite

            return await open_sqlite(url, read_only=read_only)
        case "postgresql" | "postgres":
            try:
                from memoryd.postgres.backend import open_postgres
            except ModuleNotFoundError as missing:
                raise ConfigurationError(
                    f"--backend: PostgreSQL needs {missing.name}: install autoresearch-stack[postgres]"
                ) from missing

            return await open_postgres(url, read_only=read_only)
        case "ferricula+http" | "ferricula+https":
            from memoryd.ferricula.backend import open_ferricula

            return await open_ferricula(url, read_only=read_only, trust=trust)
    raise ConfigurationError(
        f"--backend: {url!r} has no known scheme; use sqlite:///PATH, postgresql://… or ferricula+http://…"
    )
