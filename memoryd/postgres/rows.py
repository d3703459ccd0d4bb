"""How values become PostgreSQL columns and back.

Texts from users stand as JSON strings, because a PostgreSQL text cannot hold the character NUL.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from memoryd.memory import Edge, EdgeKind, Event, Memory, Record
from memoryd.sqlite.rows import encode_tags, read_ids, read_memory

MEMORY_COLUMNS = (
    "id, tags, vector, created_at, last_recalled, fidelity, decay_alpha, state, keystone, recall_count,"
    " consolidation_depth, importance, emotion_primary, emotion_secondary, consolidated_from"
)
RECORD_TYPES = (
    ("created_at", "bigint"),
    ("last_recalled", "bigint"),
    ("fidelity", "float8"),
    ("decay_alpha", "float8"),
    ("state", "text"),
    ("keystone", "boolean"),
    ("recall_count", "bigint"),
    ("consolidation_depth", "bigint"),
    ("importance", "float8"),
    ("emotion_primary", "text"),
    ("emotion_secondary", "text"),
    ("consolidated_from", "text"),
)


def quoted(text: str | None) -> str | None:
    return None if text is None else json.dumps(text, ensure_ascii=False)


def unquoted(text: str | None) -> str | None:
    return None if text is None else str(json.loads(text))


def record_columns(record: Record) -> tuple[Any, ...]:
    """In the order of RECORD_TYPES."""
    emotion = record.emotion
    return (
        record.created_at,
        record.last_recalled,
        float(record.fidelity),
        float(record.decay_alpha),
        record.state.value,
        record.keystone,
        record.recall_count,
        record.consolidation_depth,
        float(record.importance),
        quoted(emotion.primary) if emotion else None,
        quoted(emotion.secondary) if emotion else None,
        ",".join(map(str, record.consolidated_from)),
    )


def memory_columns(memory: Memory) -> tuple[Any, ...]:
    """In the order of MEMORY_COLUMNS."""
    row = memory.row
    return (row.memory_id, encode_tags(row.tags), row.vector, *record_columns(memory.record))


def read_memory_columns(columns: Sequence[Any]) -> Memory:
    record = list(columns[3:])
    record[9], record[10] = unquoted(record[9]), unquoted(record[10])
    return read_memory(columns[:3], [columns[0], *record])


def edge_columns(edge: Edge) -> tuple[Any, ...]:
    return (*edge.pair, edge.source, edge.target, quoted(edge.label), edge.kind.value, float(edge.weight))


def read_edge_columns(columns: Sequence[Any]) -> Edge:
    source, target, label, kind, weight = columns
    return Edge(source, target, unquoted(label) or "", EdgeKind(kind), weight)


def event_columns(event: Event) -> tuple[Any, ...]:
    ids = ",".join(map(str, event.memory_ids))
    return (event.sequence, event.time_ms, quoted(event.kind), ids, quoted(event.detail))


def read_event_columns(columns: Sequence[Any]) -> Event:
    sequence, time_ms, kind, ids, detail = columns
    return Event(sequence, time_ms, unquoted(kind) or "", read_ids(ids), unquoted(detail) or "")


def vector_text(vector: bytes) -> str | None:
    """pgvector's text form, or None for no vector."""
    if not vector:
        return None
    from memoryd.memory import unpack_vector

    return "[" + ",".join(f"{number:.9g}" for number in unpack_vector(vector)) + "]"
