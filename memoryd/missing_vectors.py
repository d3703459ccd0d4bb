"""Vectors for memories that have none: stored while the embedder was away, or kept from us by the backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from memoryd.backend import Capability
from memoryd.embedding.embedder import Embedder, Matrix
from memoryd.memory import Batch, Memory
from memoryd.store import Store
from memoryd.vector_marks import VectorMarks
from services.errors import FailedPreconditionError, ServiceError, UnavailableError

HERE_AT_ONCE = 256
SERVICE_AT_ONCE = 4  # more would keep a recall's own question waiting
FAILURES_IN_A_ROW = 3  # after which the embedder, not the text, is the reason
SAMPLE = 8  # stored vectors that are compared with what the embedder makes of their texts
SAME_MODEL = 0.98  # cosine
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
log = logging.getLogger("memoryd")


class MissingVectors:
    """Marks the memories that wait and gives them their vectors when the embedder answers.

    Marks and vectors are durable where the backend keeps vectors; elsewhere both live in memory. `made`
    counts the vectors made late since the start.
    """

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._marks = VectorMarks()
        self._failed: set[int] = set()  # texts that the embedder refused while it took others: tried last
        self._marked_again: set[int] = set()  # in memory; what is stored may lack these marks
        self._some = asyncio.Event()
        self._answered = asyncio.Event()
        self._is_away = False
        self.made = 0

    @property
    def waiting(self) -> int:
        """How many memories shall get a vector yet."""
        return len(self._marks)

    async def load(self) -> None:
        """Finds those that wait. Raises the backend's errors."""
        if self._embedder.name == "none":
            return
        memories = self._store.mirror.memories()
        without = [memory.memory_id for memory in memories if memory.row.text and not memory.row.vector]
        if self._store.can(Capability.VECTORS):
            await self._marks.load(self._store, without)
        else:
            self._marks.add(without)
        if self.waiting:
            self._some.set()

    def mark(self, memory_id: int) -> dict[str, str | None]:
        """Says that a memory that is stored now waits; answers the values for its batch."""
        self._some.set()
        return self._marks.add((memory_id,))

    @contextmanager
    def unmark(self, *memory_ids: int) -> Iterator[dict[str, str | None]]:
        """While a batch is stored that is why memories wait no longer; gives the values for it. When it
        fails, those of them that had been waiting wait again."""
        values = self._marks.remove(memory_ids)
        self._failed.difference_update(memory_ids)
        self._marked_again.difference_update(memory_ids)
        if not self.waiting:
            for name in ("vectors", "embedder"):
                self._store.warnings.pop(name, None)
        try:
            yield values
        except ServiceError:
            if values:
                self._marked_again.update(memory_ids)
                self._marks.add(memory_ids)
                self._some.set()
            raise

    def embedder_failed(self) -> None:
        """Says that the embedder gave nothing to somebody else."""
        self._is_away = True

    def embedder_answered(self) -> None:
        """Says that it did: when it had been away, the pause of `run` ends, and nobody waits any longer."""
        if self._is_away and self.waiting:
            self._answered.set()
        self._is_away = False

    async def run(
        self, first_pause: float = FIRST_PAUSE_SECONDS, longest_pause: float = LONGEST_PAUSE_SECONDS
    ) -> None:
        """Tries until it is cancelled: at once, then after pauses that double while nothing can be had."""
        pause = 0.0
        while True:
            if not self.waiting:
                self._some.clear()
                await self._some.wait()
                pause = first_pause
            try:
                async with asyncio.timeout(pause):
                    await self._answered.wait()
            except TimeoutError:
                pass
            self._answered.clear()
            before = self.made
            await self.make()
            pause = first_pause if self.made > before else min(longest_pause, max(first_pause, 2 * pause))

    async def make(self) -> None:
        """One attempt at all that wait. Never raises; the status says why some still wait."""
        self._is_away = False
        try:
            await self._make()
        except UnavailableError as error:
            self.embedder_failed()
            self._warn(error.message)
        except ServiceError as error:
            self._warn(error.message)
        except Exception:  # a defect must not end the attempts for good, and unseen
            log.exception("making the vectors that are missing failed")
            self._warn("an internal error, see the log")
        else:
            self._warn(f"{self._embedder.name} gave none for their texts")

    async def _make(self) -> None:
        waiting = sorted(self._marks.ids(), key=lambda memory_id: (memory_id in self._failed, memory_id))
        if not waiting:
            return
        if self._marked_again:
            await self._store.write_values(self._marks.add(self._marked_again))
            self._marked_again.clear()
        await self._demand_same_model()
        at_once = SERVICE_AT_ONCE if "://" in self._embedder.name else HERE_AT_ONCE
        failures = 0
        for start in range(0, len(waiting), at_once):
            page = waiting[start : start + at_once]
            memories = [memory for one in page if (memory := self._store.mirror.get(one)) is not None]
            try:
                vectors: list[Matrix | None] = list(await self._embedder.embed(_texts(memories)))
            except (UnavailableError, ValueError):
                if not await self._embedder.reachable():
                    raise
                vectors = []
                for memory in memories:
                    vector, failures = await self._embed_one(memory, failures)
                    vectors.append(vector)
            else:
                failures = 0
            await self._give(page, memories, vectors)

    async def _embed_one(self, memory: Memory, failures: int) -> tuple[Matrix | None, int]:
        """A vector or None, and how many failed in a row. Raises UnavailableError for too many."""
        try:
            vector: Matrix = (await self._embedder.embed([memory.row.text]))[0]
        except (UnavailableError, ValueError):
            self._failed.add(memory.memory_id)
            if failures + 1 >= FAILURES_IN_A_ROW:
                raise
            return None, failures + 1
        return vector, 0

    async def _give(
        self, page: Sequence[int], memories: Sequence[Memory], vectors: Sequence[Matrix | None]
    ) -> None:
        """Stores vectors with the memories as they are now, and takes away the marks that are done with."""
        store, mirror = self._store, self._store.mirror
        await store.settled(page)  # nothing below waits before the commit
        marked = [one for one in page if one in self._marks]
        done = {one for one in marked if (known := mirror.get(one)) is None or known.row.vector}
        given: list[Memory] = []
        for memory, vector in zip(memories, vectors, strict=True):
            current = mirror.get(memory.memory_id)
            if vector is None or current is None or current.row is not memory.row:
                continue
            if store.dimension.expected not in (0, len(vector)):
                raise self._other_model()
            done.add(memory.memory_id)
            if vector.any():  # a text without any known word gives zeros
                row = replace(current.row, vector=vector.astype("<f4").tobytes())
                given.append(Memory(row, current.record))
        ids = tuple(memory.memory_id for memory in given)
        if not store.can(Capability.VECTORS):
            for memory in given:
                mirror.give_vector(memory.memory_id, memory.row.vector)
        length = given[0].row.dimension if given else 0
        with self.unmark(*done) as values, store.dimension.claim(length):
            if store.can(Capability.VECTORS) and done:
                await store.commit(Batch(puts=tuple(given), values=values), "embedded" if ids else "", ids)
        self.made += len(given)

    async def _demand_same_model(self) -> None:
        """Raises FailedPreconditionError unless the embedder makes vectors like those of the store.

        An address tells nothing of the model behind it, and a length little.
        """
        stored = [one for one in self._store.mirror.snapshot() if one.row.vector and one.row.text]
        size = min(SAMPLE, len(stored))
        if not size:
            return
        sample = [stored[number * len(stored) // size] for number in range(size)]
        texts = _texts(sample)
        made = [*await self._embedder.embed(texts[:1])]  # one alone: the embedder may still be away
        made.extend(await self._embedder.embed(texts[1:]))
        alike = sum(_alike(memory, vector) for memory, vector in zip(sample, made, strict=True))
        if 2 * alike <= size:
            raise self._other_model()

    def _other_model(self) -> FailedPreconditionError:
        return FailedPreconditionError(
            f"{self._embedder.name} makes other vectors than those of this store; start memoryd with the "
            "embedder that made them"
        )

    def _warn(self, why: str) -> None:
        if self.waiting:
            self._store.warnings["vectors"] = (
                f"{self.waiting} memories are found by words only until their vectors are made: {why}"
            )


def _texts(memories: Sequence[Memory]) -> list[str]:
    return [memory.row.text for memory in memories]


def _alike(memory: Memory, vector: Matrix) -> bool:
    stored = np.frombuffer(memory.row.vector, dtype="<f4")
    lengths = float(np.linalg.norm(stored) * np.linalg.norm(vector))
    return stored.shape == vector.shape and lengths > 0 and float(stored @ vector) / lengths >= SAME_MODEL
