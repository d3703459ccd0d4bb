"""Copying a whole store from one backend into another, page by page, and proving that both are equal."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from memoryd.backend import BackupResult, Capability, MemoryBackend
from memoryd.memory import Batch, Edge, EdgeKind, Event, Memory, Record, Row
from services.errors import AlreadyExistsError

PAGE = 500


@runtime_checkable
class ValueLister(Protocol):
    """A backend that can list its named values; every one with VALUES does."""

    async def scan_values(self, after_name: str, limit: int) -> list[tuple[str, str]]:
        """At most `limit` values after a name ("" for all), in one fixed order of the backend's own."""


async def memories_of(backend: MemoryBackend, after_id: int = -1) -> AsyncIterator[list[Memory]]:
    """Pages of all memories after an id, ascending."""
    while page := await backend.scan(after_id, PAGE):
        yield page
        after_id = page[-1].memory_id


async def edges_of(backend: MemoryBackend) -> AsyncIterator[list[Edge]]:
    """Pages of all edges, ascending."""
    after = (-1, -1)
    while page := await backend.scan_edges(after, PAGE):
        yield page
        after = page[-1].pair


async def events_of(backend: MemoryBackend) -> AsyncIterator[list[Event]]:
    """Pages of all kept events, ascending."""
    after = 0
    while page := await backend.read_events(after, PAGE):
        yield page
        after = page[-1].sequence


async def values_of(backend: MemoryBackend) -> AsyncIterator[list[tuple[str, str]]]:
    """Pages of all named values, ascending; nothing where the backend cannot list them."""
    after = ""
    if isinstance(backend, ValueLister):
        while page := await backend.scan_values(after, PAGE):
            yield page
            after = page[-1][0]


async def copy_rest(source: MemoryBackend, target: MemoryBackend) -> None:
    """Copies edges, values, events and the highest id ever used; memories must have been copied before."""
    highest = (await source.status()).highest_id
    if highest > (await target.status()).highest_id:
        # A deleted id must never be given again: storing and deleting it leaves only its mark.
        await target.apply(Batch(puts=(Memory(Row(highest, {}), Record(0, 0)),)))
    known = await source.scan(highest - 1, 1)
    if not known or known[0].memory_id != highest:  # also what an interrupted copy has left
        await target.apply(Batch(deletes=(highest,)))
    async for edges in edges_of(source):
        await target.apply(Batch(connects=tuple(edges)))
    if Capability.VALUES in target.capabilities:
        async for values in values_of(source):
            await target.apply(Batch(values=dict(values)))
    if Capability.EVENTS in target.capabilities:
        async for events in events_of(source):
            await target.apply(Batch(events=tuple(events)))


async def copy_to_file(source: MemoryBackend, path: Path) -> BackupResult:
    """Writes a SQLite store with the content of `source`. Raises AlreadyExistsError (PATH_EXISTS)."""
    from memoryd.sqlite.backend import open_sqlite
    from memoryd.sqlite.copy import finish_backup

    if os.path.lexists(path):  # noqa: ASYNC240 - a lookup, no wait
        raise AlreadyExistsError(f"path: {path} exists; name a new file", reason="PATH_EXISTS")
    partial = path.with_name(path.name + ".partial")
    _remove(partial)
    target = await open_sqlite(f"sqlite:///{partial.absolute()}")
    try:
        async for page in memories_of(source):
            await target.apply(Batch(puts=tuple(page)))
        await copy_rest(source, target)
    except BaseException:
        await target.close()
        _remove(partial)
        raise
    await target.close()
    os.replace(partial, path)
    return await finish_backup(path)


def memory_digest(memory: Memory, *, with_vector: bool = True, with_record: bool = True) -> bytes:
    """SHA-256 of everything that a memory holds, whatever order its tags have."""
    parts: list[object] = [memory.memory_id, dict(memory.row.tags)]
    if with_vector:
        parts.append(memory.row.vector.hex())
    if with_record:
        record = memory.record
        emotion = (record.emotion.primary, record.emotion.secondary) if record.emotion else None
        plain = replace(record, emotion=None, consolidated_from=())
        parts += [repr(plain), emotion, record.consolidated_from]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


async def store_digest(
    backend: MemoryBackend,
    *,
    with_vectors: bool = True,
    with_records: bool = True,
    with_weights: bool = True,
) -> str:
    """SHA-256 over every memory and edge by ascending id; equal for two stores of equal content."""
    total = hashlib.sha256()
    async for page in memories_of(backend):
        for memory in page:
            total.update(memory_digest(memory, with_vector=with_vectors, with_record=with_records))
    async for edges in edges_of(backend):
        for edge in edges:
            shown = edge if with_weights else replace(edge, weight=1.0)
            if edge.kind is not EdgeKind.CAUSAL:  # the others have no direction
                shown = replace(shown, source=edge.pair[0], target=edge.pair[1])
            total.update(repr(shown).encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def _remove(partial: Path) -> None:
    for tail in ("", "-wal", "-shm", "-journal"):
        partial.with_name(partial.name + tail).unlink(missing_ok=True)
