"""How values become PostgreSQL columns and back; every stored item carries a CRC-32 of its columns.

Texts from users stand as JSON strings, because a PostgreSQL text cannot hold the character NUL.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from memoryd.checksums import checksum, intact, sealed
from memoryd.memory import Edge, EdgeKind, Event, Memory, Record
from memoryd.sqlite.rows import encode_tags, read_ids, read_memory

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
    ("record_crc", "bigint"),
)
# Row and record have checksums of their own: a dream changes records without reading the texts.
MEMORY_COLUMNS = "id, tags, vector, crc, " + ", ".join(name for name, _ in RECORD_TYPES)
EDGE_COLUMNS = "low, high, source, target, label, kind, weight, crc"
EVENT_COLUMNS = "sequence, time_ms, kind, ids, detail, crc"
VALUE_COLUMNS = "name, text, crc"


def quoted(text: str | None) -> str | None:
    return None if text is None else json.dumps(text, ensure_ascii=False)


def unquoted(text: str | None) -> str | None:
    return None if text is None else str(json.loads(text))


def record_columns(memory_id: int, record: Record) -> tuple[Any, ...]:
    """In the order of RECORD_TYPES."""
    emotion = record.emotion
    columns = (
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
    return (*columns, checksum((memory_id, *columns)))


def memory_columns(memory: Memory) -> tuple[Any, ...]:
    """In the order of MEMORY_COLUMNS."""
    row = memory.row
    return (
        *sealed((row.memory_id, encode_tags(row.tags), row.vector)),
        *record_columns(row.memory_id, memory.record),
    )


def read_memory_columns(columns: Sequence[Any]) -> Memory | None:
    """None when one of the two checksums fails."""
    row, record = columns[:4], [columns[0], *columns[4:]]
    if not intact(row) or not intact(record):
        return None
    record[10], record[11] = unquoted(record[10]), unquoted(record[11])
    return read_memory(row[:3], record[:-1])


def edge_columns(edge: Edge) -> tuple[Any, ...]:
    """In the order of EDGE_COLUMNS."""
    return sealed(
        (*edge.pair, edge.source, edge.target, quoted(edge.label), edge.kind.value, float(edge.weight))
    )


def read_edge_columns(columns: Sequence[Any]) -> Edge | None:
    """None when the checksum fails."""
    _, _, source, target, label, kind, weight, _ = columns
    return Edge(source, target, unquoted(label) or "", EdgeKind(kind), weight) if intact(columns) else None


def event_columns(event: Event) -> tuple[Any, ...]:
    """In the order of EVENT_COLUMNS."""
    ids = ",".join(map(str, event.memory_ids))
    return sealed((event.sequence, event.time_ms, quoted(event.kind), ids, quoted(event.detail)))


def read_event_columns(columns: Sequence[Any]) -> Event | None:
    """None when the checksum fails."""
    if not intact(columns):
        return None
    sequence, time_ms, kind, ids, detail, _ = columns
    return Event(sequence, time_ms, unquoted(kind) or "", read_ids(ids), unquoted(detail) or "")


def value_columns(name: str, text: str) -> tuple[Any, ...]:
    """In the order of VALUE_COLUMNS."""
    return sealed((quoted(name), quoted(text)))


def read_value_columns(columns: Sequence[Any]) -> tuple[str, str] | None:
    """Name and text; None when the checksum fails."""
    return (unquoted(columns[0]) or "", unquoted(columns[1]) or "") if intact(columns) else None


def vector_text(vector: bytes) -> str | None:
    """pgvector's text form, or None for no vector."""
    if not vector:
        return None
    from memoryd.memory import unpack_vector

    return "[" + ",".join(f"{number:.9g}" for number in unpack_vector(vector)) + "]"
