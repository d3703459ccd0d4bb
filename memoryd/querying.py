"""Recall in ferricula's language: free text ranked, SQL evaluated, gates of the archetypes applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from memoryd.dreams.resonance import Resonance, passes
from memoryd.embedding.embedder import Embedder
from memoryd.memory import Memory, Record, State
from memoryd.query_language.evaluate import Selection, asks_for_state, evaluate
from memoryd.query_language.language import Plan, arrange_rows, freeform_plan, plan
from memoryd.query_language.parser import parse
from memoryd.query_language.tree import Query, embedded_texts
from memoryd.recalling import Recalling
from memoryd.requests import Hit, RecallQuery
from memoryd.store import Store
from services.errors import InvalidArgumentError


@dataclass(frozen=True)
class Answer:
    """`hits` passed the gates, `total` were found, `sql` says what was asked."""

    sql: str
    hits: tuple[Hit, ...]
    total: int


class _View:
    """The mirror as the query language sees it."""

    def __init__(self, store: Store) -> None:
        self._mirror = store.mirror
        self.now = store.seconds

    def ids(self) -> Iterable[int]:
        return self._mirror.ids()

    def tags(self, memory_id: int) -> Mapping[str, str]:
        memory = self._mirror.get(memory_id)
        return memory.row.tags if memory else {}

    def record(self, memory_id: int) -> Record | None:
        memory = self._mirror.get(memory_id)
        return memory.record if memory else None

    def nearest(self, metric: str, vector: Sequence[float], count: int) -> Sequence[tuple[int, float]]:
        vectors = self._mirror.retrieval.vectors
        return vectors.nearest_l2(vector, count) if metric == "l2" else vectors.nearest_cosine(vector, count)


class Querying:
    def __init__(
        self,
        store: Store,
        recalling: Recalling,
        embedder: Embedder,
        resonance: Resonance = Resonance.LIFECYCLE,
    ) -> None:
        self._store = store
        self._recalling = recalling
        self._embedder = embedder
        self.resonance = resonance

    async def recall(self, query: str, limit: int | None = None) -> Answer:
        """Answers a `query` of POST /recall and strengthens what it returns. Raises QueryError and others."""
        planned = plan(query)
        if planned.freeform is not None:
            return await self._freeform(planned, limit or 10)
        selection = await self._select(planned.sql)
        gate = self._gate()
        hits = [
            Hit(memory, selection.scores.get(memory.memory_id, 0.0))
            for memory in self._known(selection.ids)
            if gate(memory.record)
        ]
        return await self._strengthen(planned.sql, hits[:limit], selection.total)

    async def recall_text(self, text: str, limit: int) -> Answer:
        """Answers the `text` of a client that knows no SQL."""
        if not text.strip():
            raise InvalidArgumentError("empty query", field="text", reason="INVALID_QUERY")
        return await self._freeform(freeform_plan(text, limit), limit)

    async def rows(self, sql: str) -> list[Memory]:
        """Answers POST /query: read-only, no gates, embed() unavailable."""
        # ORDER BY and LIMIT follow ferricula's own rules for this route, after the rows are found.
        query = Query(parse(sql).body)
        selection = evaluate(query, _View(self._store), {})
        found = self._known(sorted(selection.ids))
        if not asks_for_state(query, State.PRUNED):  # rows without a record show only when asked for
            found = [memory for memory in found if memory.record.state is not State.PRUNED]
        return arrange_rows(sql, found, _sort_value)

    async def _freeform(self, planned: Plan, limit: int) -> Answer:
        text = planned.freeform or ""
        found, total = await self._recalling.find_through(RecallQuery(text=text, limit=limit), self._gate())
        return await self._strengthen(planned.sql, found, total)

    def _gate(self) -> Callable[[Record], bool]:
        """Whether a memory resonates now."""
        mood, now = self._recalling.mood, self._store.now()
        return lambda record: passes(record, self.resonance, mood, now)

    async def _strengthen(self, sql: str, hits: Sequence[Hit], total: int) -> Answer:
        strengthened = await self._recalling.strengthen([hit.memory for hit in hits])
        answered = tuple(
            Hit(memory, hit.score, hit.arms) for memory, hit in zip(strengthened, hits, strict=True)
        )
        return Answer(sql, answered, total)

    async def _select(self, sql: str) -> Selection:
        query = parse(sql)
        vectors: dict[str, Sequence[float]] = {}
        texts = embedded_texts(query)
        if texts:
            made = await self._embedder.embed(texts)
            vectors = {text: row.tolist() for text, row in zip(texts, made, strict=True)}
        return evaluate(query, _View(self._store), vectors)

    def _known(self, ids: Iterable[int]) -> list[Memory]:
        return [memory for memory_id in ids if (memory := self._store.mirror.get(memory_id)) is not None]


def _sort_value(memory: Memory, column: str) -> float:
    if column == "recalls":
        return memory.record.recall_count
    return memory.record.fidelity if column == "fidelity" else memory.memory_id
