"""ferricula's routes about memories: remember, recall, search, rows, keystones, deletion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from memoryd.characters import clean
from memoryd.engine import Engine
from memoryd.http.body import is_number, is_unsigned, read_object
from memoryd.http.layouts import cut, inspect_text, recall_text
from memoryd.http.remember_body import parse_remember
from memoryd.http.replies import Reply, bare, data, result
from memoryd.memory import Memory, State
from memoryd.query_language.language import REF_FIELDS, REF_NUMBERS
from memoryd.querying import Answer
from memoryd.requests import Hit
from services.errors import NotFoundError, ServiceError

MAXIMUM_K = 1000


class MemoryRoutes:
    def __init__(self, engine: Engine, *, strict: bool = False) -> None:
        self._engine = engine
        self._strict = strict

    async def remember(self, body: bytes) -> Reply:
        new = parse_remember(body, strict=self._strict)
        stored = await self._engine.remembering.remember(new)
        return result(f"remembered id={stored.memory_id} terms={stored.term_count} indexed")

    async def recall(self, body: bytes) -> Reply:
        answer = await self._recall(body)
        return result(recall_text(answer.sql, answer.hits, answer.total))

    async def _recall(self, body: bytes) -> Answer:
        raw = clean(body.decode("utf-8", "replace"))
        try:
            given = json.loads(raw)
        except (ValueError, RecursionError):
            given = None
        if isinstance(given, dict):
            k = given.get("k")
            limit = min(max(k, 1), 100) if isinstance(k, int) and is_unsigned(k) else None
            if isinstance(given.get("query"), str):
                return await self._engine.querying.recall(clean(given["query"]), limit)
            if isinstance(given.get("text"), str):
                return await self._engine.querying.recall_text(clean(given["text"]), limit or 10)
        return await self._engine.querying.recall(raw)

    async def search(self, body: bytes) -> Reply:
        try:
            query, k, _ = _search_fields(body)
        except ServiceError as error:
            return data({"error": error.message})
        hits = self._engine.recalling.search(query, k)
        return data({"results": [_found(hit) for hit in hits]})

    async def hybrid(self, body: bytes) -> Reply:
        try:
            query, k, weight = _search_fields(body)
        except ServiceError as error:
            return data({"error": error.message})
        hits = await self._engine.recalling.hybrid(query, k, weight)
        return data({"results": [_found(hit) for hit in hits]})

    async def query(self, body: bytes) -> Reply:
        raw = clean(body.decode("utf-8", "replace"))
        sql = raw
        if raw.lstrip().startswith("{"):
            given = read_object(body)
            for name in ("query", "sql"):
                if isinstance(given.get(name), str):
                    sql = clean(given[name])
                    break
        try:
            rows = await self._engine.querying.rows(sql)
        except ServiceError as error:
            return bare(f"error: {error.message}")
        return data({"rows": [_row(memory) for memory in rows]})

    async def inspect(self, memory_id: int) -> Reply:
        store = self._engine.store
        memory = store.mirror.get(memory_id)
        if memory is None or memory.record.state is State.PRUNED:
            return result(f"error: no memory record for id={memory_id}")
        return result(inspect_text(memory, store.mirror.graph, store.seconds))

    async def get(self, memory_id: int) -> Reply:
        memory = self._engine.store.mirror.get(memory_id)
        if memory is None:
            return bare(f"error: no row for id={memory_id}")
        row = memory.row
        return data({"id": row.memory_id, "tags": dict(row.tags), "vector_dim": row.dimension})

    async def keystone(self, memory_id: int) -> Reply:
        try:
            memory = await self._engine.linking.set_keystone(memory_id, None)
        except NotFoundError:
            return result(f"error: no memory record for id={memory_id}")
        return result(f"keystone {'set' if memory.record.keystone else 'unset'} for id={memory_id}")

    async def delete(self, memory_id: int) -> Reply:
        try:
            await self._engine.remembering.forget(memory_id)
        except NotFoundError:
            return data({"deleted": False, "error": "not found", "id": memory_id})
        except ServiceError as error:
            return bare(f"error: {error.message}")
        return data({"deleted": True, "id": memory_id})

    async def maxid(self) -> Reply:
        return data({"maxid": str(self._engine.store.mirror.highest_id)})

    async def distinct(self, query_string: str) -> Reply:
        field = parse_qs(query_string).get("field", [""])[0]
        lowered = field.lower()
        values = {
            value
            for memory in self._engine.store.mirror.memories()
            for name, value in memory.row.tags.items()
            if name.lower() == lowered and name != "text"
        }
        return data({"count": len(values), "field": field, "values": sorted(values)})


def _search_fields(body: bytes) -> tuple[str, int, float]:
    given = read_object(body)
    query, k, weight = given.get("query"), given.get("k"), given.get("weight")
    return (
        clean(query) if isinstance(query, str) else "",
        min(k, MAXIMUM_K) if isinstance(k, int) and is_unsigned(k) else 10,
        min(max(float(weight), 0.0), 1.0) if isinstance(weight, int | float) and is_number(weight) else 0.5,
    )


def _found(hit: Hit) -> dict[str, Any]:
    return {
        "bm25": round(hit.arms[0].score, 3),
        "id": hit.memory.memory_id,
        "probability": round(hit.score, 4),
        "text": hit.memory.row.text,
    }


def _row(memory: Memory) -> dict[str, Any]:
    record, tags = memory.record, memory.row.tags
    row: dict[str, Any] = {
        "id": memory.memory_id,
        "fidelity": round(record.fidelity, 3),
        "recalls": record.recall_count,
        "state": record.state.value,
        "keystone": record.keystone,
        "text": cut(memory.row.text),
    }
    return row | _references(sorted(REF_FIELDS & set(tags)), tags)


def _references(names: Sequence[str], tags: Any) -> dict[str, Any]:
    return {
        name: int(tags[name]) if name in REF_NUMBERS and str(tags[name]).isdecimal() else tags[name]
        for name in names
    }
