"""Storing memories: checks, idempotency keys, duplicates, vectors, ids; and taking memories out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
from collections.abc import AsyncIterator, Sequence

from memoryd.embedding.embedder import Embedder
from memoryd.finishing import finish
from memoryd.memory import (
    ID_LIMIT,
    TEXT_LIMIT_BYTES,
    Batch,
    Memory,
    Record,
    Row,
    State,
    clamp_alpha,
    pack_vector,
)
from memoryd.mirror import plain_text
from memoryd.missing_vectors import MissingVectors
from memoryd.requests import NewMemory, Remembered
from memoryd.retrieval.tokens import tokenize
from memoryd.store import Store
from memoryd.terms import tag_terms
from services.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, UnavailableError

KEY_LIMIT = 200


class Remembering:
    def __init__(self, store: Store, embedder: Embedder, missing_vectors: MissingVectors) -> None:
        self._store = store
        self._embedder = embedder
        self._missing_vectors = missing_vectors
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def remember(self, new: NewMemory) -> Remembered:
        """Stores a memory; durable when this returns.

        A key that was used before answers the id of then. Without an explicit id, a text that is already
        stored with at least these tags is not stored again. Raises InvalidArgumentError,
        AlreadyExistsError (IDEMPOTENCY_CONFLICT) and the backend's errors.
        """
        check_new(new)
        return await finish(self._remember_alone(new))

    async def _remember_alone(self, new: NewMemory) -> Remembered:
        """A caller that hangs up must not free the key before the memory is stored: hence the task."""
        names = []
        if new.idempotency_key:
            names.append(f"key/{new.idempotency_key}")
        if new.memory_id is None:
            names.append(f"text/{plain_text(new.text)}")
        async with contextlib.AsyncExitStack() as stack:
            for name in names:
                await stack.enter_async_context(self._one_at_a_time(name))
            return await self._remember(new)

    async def _remember(self, new: NewMemory) -> Remembered:
        terms = len(tokenize(new.text)) + len(tag_terms(new.tags))
        if new.idempotency_key:
            known = await self._find_key(new)
            if known is not None:
                return Remembered(known, False, tuple(self._twins(new, known)), terms)
        twins = self._twins(new, new.memory_id)
        if new.memory_id is None and new.text:
            for twin in twins:
                if self._covers(twin, new):
                    if new.idempotency_key:
                        await self._store.write_values(self._key_value(new, twin))
                    return Remembered(twin, False, tuple(twins), terms)
        vector = await self._vector(new)
        expected = self._store.dimension.expected
        if vector and expected not in (0, len(vector) // 4):
            raise InvalidArgumentError(
                f"vector dimension mismatch: expected {expected}, got {len(vector) // 4}",
                field="vector",
                reason="DIMENSION_MISMATCH",
            )
        if new.memory_id is None:
            memory_id = self._store.allocate_id()
        else:
            memory_id = new.memory_id
            self._store.note_id(memory_id)
        now = self._store.seconds
        record = Record(
            created_at=now,
            last_recalled=now,
            decay_alpha=clamp_alpha(new.decay_alpha),
            keystone=new.keystone,
            importance=new.importance,
            emotion=new.emotion,
        )
        memory = Memory(Row(memory_id, dict(new.tags), vector or b""), record)
        values = self._key_value(new, memory_id) if new.idempotency_key else {}
        missing = self._missing_vectors
        marking = (
            contextlib.nullcontext(missing.mark(memory_id)) if vector is None else missing.unmark(memory_id)
        )
        with marking as marks, self._store.dimension.claim(memory.row.dimension):
            batch = Batch(puts=(memory,), values=values | marks)
            await self._store.commit(batch, "remembered", (memory_id,))
        return Remembered(memory_id, True, tuple(twins), terms)

    async def forget(self, memory_id: int) -> None:
        """Removes a memory with its edges and terms. Raises NotFoundError."""
        if memory_id not in self._store.mirror:
            raise not_found(memory_id)
        with self._missing_vectors.unmark(memory_id) as marks:
            await self._store.commit(Batch(deletes=(memory_id,), values=marks), "forgotten", (memory_id,))

    def _twins(self, new: NewMemory, own_id: int | None) -> list[int]:
        return [found for found in self._store.mirror.repeats_of(new.tags) if found != own_id]

    def _covers(self, twin: int, new: NewMemory) -> bool:
        """Whether the stored twin says everything that the new one would (its channel aside)."""
        stored = self._store.mirror.get(twin)
        if stored is None or plain_text(stored.row.text) != plain_text(new.text):
            return False
        if stored.record.state is State.PRUNED:
            return False  # what was forgotten to the end is learnt anew
        return all(
            stored.row.tags.get(name) == value
            for name, value in new.tags.items()
            if name not in ("text", "channel")
        )

    async def _vector(self, new: NewMemory) -> bytes | None:
        """Packed; None for a memory that shall get its vector later."""
        if new.vector is not None:
            return pack_vector(new.vector)
        if not new.text or self._embedder.name == "none":
            return b""
        try:
            made = (await self._embedder.embed([new.text]))[0]
        except UnavailableError as error:
            # A memory without a vector is still found by its words; losing it would be worse.
            self._store.warnings["embedder"] = f"stored without a vector: {error.message}"
            self._missing_vectors.embedder_failed()
            return None
        expected = self._store.dimension.expected
        if expected not in (0, len(made)):
            self._store.warnings["embedder"] = (
                f"the store holds vectors of {expected} numbers, the embedder gives {len(made)}: new "
                "memories are stored without a vector; use the embedder that made the store, or migrate"
            )
            return None
        self._missing_vectors.embedder_answered()
        return pack_vector(made.tolist()) if made.any() else b""

    async def _find_key(self, new: NewMemory) -> int | None:
        text = await self._store.read_value(f"key/{new.idempotency_key}")
        if text is None:
            return None
        known = json.loads(text)
        if known["text"] != _hash(new.text):
            raise AlreadyExistsError(
                f"idempotency_key: {new.idempotency_key!r} was used for another text; make a new key",
                reason="IDEMPOTENCY_CONFLICT",
                metadata={"field": "idempotency_key"},
            )
        return int(known["id"])

    def _key_value(self, new: NewMemory, memory_id: int) -> dict[str, str | None]:
        entry = json.dumps({"id": memory_id, "text": _hash(new.text)})
        return {f"key/{new.idempotency_key}": entry}

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, name: str) -> AsyncIterator[None]:
        """Lets writers of the same key or text pass one after the other."""
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, users - 1)


def check_new(new: NewMemory) -> None:
    """Raises InvalidArgumentError for what must not be stored."""
    size = len(new.text.encode("utf-8", "replace"))
    if size > TEXT_LIMIT_BYTES:
        raise InvalidArgumentError(
            f"text: {size} bytes are more than {TEXT_LIMIT_BYTES}; store a summary or parts",
            field="text",
            reason="TEXT_TOO_LARGE",
        )
    other = sum(len(name) + len(value) for name, value in new.tags.items() if name != "text")
    if other > TEXT_LIMIT_BYTES:
        raise InvalidArgumentError(
            f"tags: {other} characters are more than {TEXT_LIMIT_BYTES}",
            field="tags",
            reason="TEXT_TOO_LARGE",
        )
    if len(new.idempotency_key) > KEY_LIMIT:
        raise InvalidArgumentError(
            f"idempotency_key: {len(new.idempotency_key)} characters are more than {KEY_LIMIT}",
            field="idempotency_key",
        )
    if new.memory_id is not None and not 0 <= new.memory_id < ID_LIMIT:
        raise InvalidArgumentError(
            f"memory_id: {new.memory_id} is not an unsigned 32-bit number", field="memory_id"
        )
    check_vector(new.vector or ())
    for name, value in (("importance", new.importance), ("decay_alpha", new.decay_alpha)):
        if not math.isfinite(value):
            raise InvalidArgumentError(f"{name}: {value} is not a finite number", field=name)


def check_vector(vector: Sequence[float]) -> None:
    """Raises InvalidArgumentError for numbers that are not finite as float32."""
    for position, number in enumerate(vector):
        if not abs(number) <= 3.4028234e38:
            raise InvalidArgumentError(
                f"vector: number {position} is {number}; every one must be finite",
                field="vector",
                reason="INVALID_VECTOR",
            )


def not_found(memory_id: int) -> NotFoundError:
    return NotFoundError(
        f"no memory has the id {memory_id}",
        reason="MEMORY_NOT_FOUND",
        metadata={"memory_id": str(memory_id)},
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
