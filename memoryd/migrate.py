"""`memoryd migrate --from URL --to URL`: moves a store to another backend, resumable and verified."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memoryd.backend import Capability, MemoryBackend, open_backend
from memoryd.embedding.embedder import Embedder, open_embedder
from memoryd.memory import Batch, Memory, pack_vector
from memoryd.store_copy import copy_rest, memories_of, memory_digest, store_digest
from services.errors import ConfigurationError, DataLossError, FailedPreconditionError, ServiceError
from services.outgoing_https import https_trust

MARK = "migration"  # named value in the target: the source that a migration under way comes from


@dataclass(frozen=True)
class Migrated:
    """`digest` is equal on both sides over what both can hold; `embedded` counts vectors made anew."""

    copied: int
    already_there: int
    embedded: int
    digest: str
    gaps: tuple[str, ...]


async def migrate(
    source: MemoryBackend,
    target: MemoryBackend,
    embedder: Embedder,
    *,
    report: Callable[[str], None],
) -> Migrated:
    """Copies everything and proves it. Safe to run again after an interruption: it goes on.

    Raises FailedPreconditionError when the target holds something else, DataLossError when the result
    differs from the source, and the backends' errors.
    """
    gaps = _gaps(source, target)
    for gap in gaps:
        report(f"note: {gap}")
    before = await source.status()
    total = before.row_count
    await _mark(source, target)
    kept, copied, embedded = 0, 0, 0
    shared = {
        "with_vectors": Capability.VECTORS in source.capabilities & target.capabilities,
        "with_records": Capability.RECORDS in source.capabilities & target.capabilities,
    }
    async for page in memories_of(source):
        there = await _already(target, page, with_vectors=shared["with_vectors"])
        missing = [memory for memory in page if memory.memory_id not in there]
        if missing and Capability.VECTORS not in source.capabilities and embedder.name != "none":
            missing = await _embed(missing, embedder)
            embedded += len(missing)
        if missing:
            await target.apply(Batch(puts=tuple(missing)))
        kept += len(there)
        copied += len(missing)
        report(f"{kept + copied} of {total} memories")
    await copy_rest(source, target)
    report("verifying")
    wanted = await store_digest(source, **shared, with_weights=shared["with_records"])
    found = await store_digest(target, **shared, with_weights=shared["with_records"])
    if wanted != found:
        raise DataLossError(
            f"the target differs from the source after copying (sha256 {found[:12]} instead of "
            f"{wanted[:12]}); was one of them written to meanwhile? stop the daemons and migrate again",
            reason="MIGRATION_DIFFERS",
        )
    for warning in (await source.status()).warnings:  # reading has found what fails its checksum
        if warning not in before.warnings:
            report(f"note: not carried over: {warning}")
    if Capability.VALUES in target.capabilities:
        await target.apply(Batch(values={MARK: None}))
    return Migrated(copied, kept, embedded, wanted, gaps)


def _gaps(source: MemoryBackend, target: MemoryBackend) -> tuple[str, ...]:
    meaning = {
        Capability.VECTORS: "vectors are not given back and are made anew by --embedder",
        Capability.RECORDS: "fidelity, recalls and edge weights are rounded or start anew",
        Capability.VALUES: "identity, idempotency keys and the clock are not carried over",
        Capability.EVENTS: "the event log is not carried over",
    }
    sides = (("source", source), ("target", target))
    return tuple(
        f"the {side} lacks {capability.value}: {text}"
        for side, backend in sides
        for capability, text in meaning.items()
        if capability not in backend.capabilities
    )


async def _mark(source: MemoryBackend, target: MemoryBackend) -> None:
    """Refuses a target with content of its own; marks a fresh one that can be marked."""
    place = (await source.status()).place
    rows = (await target.status()).row_count
    if Capability.VALUES not in target.capabilities:
        is_own = not rows or await _holds_only(source, target)
    else:
        is_own = not rows or await target.read_value(MARK) == place
    if not is_own:
        raise FailedPreconditionError(
            f"--to: the store already holds {rows} memories that do not come from {place}; name an empty one",
            reason="TARGET_NOT_EMPTY",
        )
    await target.apply(Batch(values={MARK: place}))


async def _holds_only(source: MemoryBackend, target: MemoryBackend) -> bool:
    """Whether every memory of the target is one of the source's: an earlier run was interrupted."""
    async for page in memories_of(target):
        for memory in page:
            known = await source.scan(memory.memory_id - 1, 1)
            if not known or known[0].memory_id != memory.memory_id or known[0].row.tags != memory.row.tags:
                return False
    return True


async def _already(target: MemoryBackend, page: Sequence[Memory], *, with_vectors: bool) -> set[int]:
    """Ids of the page that an earlier run copied whole."""
    first, last = page[0].memory_id, page[-1].memory_id
    wanted = {memory.memory_id: memory_digest(memory, with_vector=with_vectors) for memory in page}
    found = await target.scan(first - 1, len(page))
    return {
        memory.memory_id
        for memory in found
        if memory.memory_id <= last
        and wanted.get(memory.memory_id) == memory_digest(memory, with_vector=with_vectors)
    }


async def _embed(memories: list[Memory], embedder: Embedder) -> list[Memory]:
    vectors = await embedder.embed([memory.row.text for memory in memories])
    return [
        replace(memory, row=replace(memory.row, vector=pack_vector(vector.tolist()) if vector.any() else b""))
        for memory, vector in zip(memories, vectors, strict=True)
    ]


async def _run(options: argparse.Namespace) -> int:
    trust = https_trust(options.https_ca)
    source = await open_backend(options.source, read_only=True, trust=trust)
    try:
        target = await open_backend(options.target, trust=trust)
        try:
            embedder = await open_embedder(options.embedder, trust=trust)
            try:
                result = await migrate(source, target, embedder, report=_say)
            finally:
                await embedder.close()
        finally:
            await target.close()
    finally:
        await source.close()
    made = f", {result.embedded} vectors made by {options.embedder}" if result.embedded else ""
    sys.stdout.write(
        f"{result.copied} memories copied, {result.already_there} were there{made}; sha256 {result.digest}\n"
    )
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"migrate: {line}\n")


def main(argv: Sequence[str]) -> int:
    """0 when the target equals the source. Raises ConfigurationError with the reason otherwise."""
    parser = argparse.ArgumentParser(prog="memoryd migrate", description=__doc__)
    parser.add_argument("--from", dest="source", required=True, help="URL of the store to read")
    parser.add_argument("--to", dest="target", required=True, help="URL of the empty store to fill")
    parser.add_argument("--https-ca", type=Path, help="CA of a ferricula+https:// store, beside the system's")
    parser.add_argument("--embedder", default="static", help="used where the source gives no vectors")
    options = parser.parse_args(list(argv))
    if options.source == options.target:
        raise ConfigurationError("--to: is the same store as --from")
    if options.source.startswith("sqlite:///"):
        _demand_file(options.source)
    try:
        return asyncio.run(_run(options))
    except ConfigurationError:
        raise
    except ServiceError as error:
        raise ConfigurationError(error.message) from error


def _demand_file(url: str) -> None:
    """A mistyped path must not become an empty store that is then copied with success."""
    path = Path(url.removeprefix("sqlite:///"))
    if not path.is_file():
        raise ConfigurationError(f"--from: there is no store at {path}")
