"""Finding memories, and what recalling does to those that are found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from memoryd.dreams.dynamics import recalled
from memoryd.dreams.resonance import HEAT_PER_RECALL, Mood
from memoryd.embedding.embedder import Embedder
from memoryd.memory import Batch, Memory, Record, RecordUpdate, State
from memoryd.remembering import check_vector
from memoryd.requests import Hit, Recalled, RecallQuery
from memoryd.retrieval.bm25 import Calibration, probability
from memoryd.retrieval.fusion import hybrid_ranking
from memoryd.retrieval.index import ArmRank
from memoryd.retrieval.tokens import tokenize
from memoryd.retrieval.vector_index import Vector
from memoryd.store import Store
from services.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

EMBED_SECONDS = 5.0
STRENGTHENED_AT_ONCE = 500
QUERY_CHARACTERS = 16_384  # more words can not make a question clearer


class Recalling:
    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self.calibration = Calibration()
        self.mood = Mood()

    async def load(self) -> None:
        """Reads the mood, and calibrates BM25 over the stored texts, once."""
        self.mood = Mood.from_json(await self._store.read_value("mood"))
        self.calibration = self._store.mirror.retrieval.words.calibrate()

    async def recall(self, query: RecallQuery) -> Recalled:
        """The best memories for a text, vector and filters; each is strengthened, durably.

        Raises InvalidArgumentError (INVALID_QUERY, INVALID_VECTOR, DIMENSION_MISMATCH).
        """
        found, candidates = await self.find(query)
        strengthened = await self.strengthen([hit.memory for hit in found])
        hits = tuple(
            Hit(memory, hit.score, hit.arms) for memory, hit in zip(strengthened, found, strict=True)
        )
        return Recalled(hits, candidates)

    async def find(self, query: RecallQuery) -> tuple[list[Hit], int]:
        """As `recall`, without any effect."""
        return self._ranked(query, await self._checked(query)), len(self._store.mirror)

    async def find_through(self, query: RecallQuery, gate: Callable[[Record], bool]) -> tuple[list[Hit], int]:
        """The best that pass a gate, up to the limit, and how many there would be without it."""
        vector = await self._checked(query)
        found = self._ranked(query, vector)
        if all(gate(hit.memory.record) for hit in found):
            return found, len(found)
        return self._ranked(query, vector, gate), len(found)

    async def _checked(self, query: RecallQuery) -> Vector | None:
        """The vector of a query that can be answered."""
        if not (query.text.strip() or query.vector or query.tags):
            raise InvalidArgumentError(
                "text, vector and tags are all empty; give at least one", field="text", reason="INVALID_QUERY"
            )
        if not 1 <= query.limit <= 100:
            raise InvalidArgumentError(f"limit: {query.limit} is not within 1..100", field="limit")
        return await self._query_vector(query)

    def _ranked(
        self, query: RecallQuery, vector: Vector | None, gate: Callable[[Record], bool] | None = None
    ) -> list[Hit]:
        mirror = self._store.mirror

        def allowed(memory_id: int) -> bool:
            memory = mirror.get(memory_id)
            return (
                memory is not None
                and (gate is None or gate(memory.record))
                and (not query.states or memory.record.state in query.states)
                and all(memory.row.tags.get(name) == value for name, value in query.tags.items())
            )

        if not (query.text.strip() or query.vector):
            newest = sorted(
                (memory for memory in mirror.memories() if allowed(memory.memory_id)),
                key=lambda memory: (-memory.record.created_at, -memory.memory_id),
            )
            return [Hit(memory, 1.0) for memory in newest[: query.limit]]
        filtered = bool(query.states or query.tags or gate)
        text = query.text[:QUERY_CHARACTERS]
        ranked = mirror.retrieval.rank(text, vector, query.limit, allowed if filtered else None)
        return [
            Hit(memory, item.score, item.arms)
            for item in ranked
            if item.score >= query.minimum_score and (memory := mirror.get(item.memory_id)) is not None
        ]

    async def strengthen(self, memories: Sequence[Memory]) -> list[Memory]:
        """Counts a recall of each memory and warms the store; durable when this returns.

        A full or read-only disk does not stop reading: the memories are then answered as they are. A great
        many are strengthened piece by piece, so that no other request has to wait for all of them.
        """
        strengthened: list[Memory] = []
        for start in range(0, len(memories), STRENGTHENED_AT_ONCE):
            if start:
                await asyncio.sleep(0)  # requests that wait go first
            strengthened += await self._strengthen(memories[start : start + STRENGTHENED_AT_ONCE])
        return strengthened

    async def _strengthen(self, memories: Sequence[Memory]) -> list[Memory]:
        """As `strengthen`, in one batch."""
        await self._store.settled(memory.memory_id for memory in memories)
        mirror, now = self._store.mirror, self._store.now()
        updates = tuple(
            RecordUpdate(memory.memory_id, recalled(current.record, int(now)))
            for memory in memories
            if (current := mirror.get(memory.memory_id)) is not None
            and current.record.state is not State.PRUNED
        )
        if not updates:
            return list(memories)
        self.mood = self.mood.warmed(HEAT_PER_RECALL * len(updates), now)
        ids = tuple(update.memory_id for update in updates)
        batch = Batch(updates=updates, values={"mood": self.mood.to_json()})
        try:
            await self._store.commit(batch, "recalled", ids)
        except (ResourceExhaustedError, FailedPreconditionError) as error:
            self._store.warnings["recall"] = f"recalls are not counted: {error}"
            return list(memories)
        self._store.warnings.pop("recall", None)
        records = {update.memory_id: update.record for update in updates}
        return [Memory(memory.row, records.get(memory.memory_id, memory.record)) for memory in memories]

    def search(self, text: str, limit: int) -> list[Hit]:
        """ferricula's BM25 search: calibrated probability as score, best first."""
        words = self._store.mirror.retrieval.words
        scored = [
            (probability(hit, self.calibration), hit)
            for hit in words.search(tokenize(text[:QUERY_CHARACTERS]), max(1000, limit * 4))
        ]
        scored.sort(key=lambda pair: (-pair[0], pair[1].memory_id))
        return self._hits(
            (hit.memory_id, chance, (ArmRank("bm25", rank, hit.score),))
            for rank, (chance, hit) in enumerate(scored[:limit], start=1)
        )

    async def hybrid(self, text: str, limit: int, weight: float) -> list[Hit]:
        """ferricula's /hybrid: BM25 probability and cosine joined as log odds."""
        words = self.search(text, 2 * limit)
        chances = {hit.memory.memory_id: hit.score for hit in words}
        cosines: dict[int, float] = {}
        vector = await self._embed(text)
        if vector is not None:
            cosines = dict(self._store.mirror.retrieval.vectors.nearest_cosine(vector, 2 * limit))
        word_ranks = {memory_id: rank for rank, memory_id in enumerate(chances, start=1)}
        vector_ranks = {memory_id: rank for rank, memory_id in enumerate(cosines, start=1)}
        return self._hits(
            (
                memory_id,
                chance,
                (
                    ArmRank("bm25", word_ranks.get(memory_id, 0), chances.get(memory_id, 0.0)),
                    ArmRank("vector", vector_ranks.get(memory_id, 0), cosines.get(memory_id, 0.0)),
                ),
            )
            for memory_id, chance in hybrid_ranking(chances, cosines, weight)[:limit]
        )

    def _hits(self, found: Iterable[tuple[int, float, tuple[ArmRank, ...]]]) -> list[Hit]:
        return [
            Hit(memory, score, arms)
            for memory_id, score, arms in found
            if (memory := self._store.mirror.get(memory_id)) is not None
        ]

    async def _query_vector(self, query: RecallQuery) -> Vector | None:
        if not query.vector:
            return await self._embed(query.text) if query.text.strip() else None
        check_vector(query.vector)
        expected = self._store.mirror.dimension
        if expected not in (0, len(query.vector)):
            raise InvalidArgumentError(
                f"vector dimension mismatch: expected {expected}, got {len(query.vector)}",
                field="vector",
                reason="DIMENSION_MISMATCH",
            )
        return np.asarray(query.vector, dtype=np.float32)

    async def _embed(self, text: str) -> Vector | None:
        """The vector of a query, or None when words alone must do."""
        expected = self._store.mirror.dimension
        if self._embedder.name == "none" or expected == 0:
            return None
        try:
            async with asyncio.timeout(EMBED_SECONDS):
                vector: Vector = (await self._embedder.embed([text[:QUERY_CHARACTERS]]))[0]
        except (UnavailableError, TimeoutError) as error:
            why = str(error) or f"no answer in {EMBED_SECONDS:g} s"
            self._store.warnings["search"] = f"searched by words only: {why}"
            return None
        self._store.warnings.pop("search", None)
        return vector if len(vector) == expected and vector.any() else None
