"""How values become SQLite columns and back; every stored item carries a CRC-32 of its content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from memoryd.checksums import Column, Columns, sealed
from memoryd.memory import Edge, EdgeKind, Emotion, Event, Memory, Record, Row, State


def encode_tags(tags: Mapping[str, str]) -> str:
    return json.dumps(dict(tags), ensure_ascii=False, separators=(",", ":"))


def row_columns(row: Row) -> Columns:
    return sealed((row.memory_id, encode_tags(row.tags), row.vector))


def record_columns(memory_id: int, record: Record) -> Columns:
    emotion = record.emotion
    return sealed(
        (
            memory_id,
            record.created_at,
            record.last_recalled,
            float(record.fidelity),
            float(record.decay_alpha),
            record.state.value,
            int(record.keystone),
            record.recall_count,
            record.consolidation_depth,
            float(record.importance),
            emotion.primary if emotion else None,
            emotion.secondary if emotion else None,
            ",".join(map(str, record.consolidated_from)),
        )
    )


def edge_columns(edge: Edge) -> Columns:
    low, high = edge.pair
    return sealed((low, high, edge.source, edge.target, edge.label, edge.kind.value, float(edge.weight)))


def event_columns(event: Event) -> Columns:
    ids = ",".join(map(str, event.memory_ids))
    return sealed((event.sequence, event.time_ms, event.kind, ids, event.detail))


def read_ids(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",")) if text else ()


def read_memory(row: Sequence[Column], record: Sequence[Column]) -> Memory:
    """A memory from the columns of its row and of its record, checksums excluded."""
    memory_id, tags, vector = row[0], row[1], row[2]
    (_, created, recalled, fidelity, alpha, state, keystone, recalls, depth, importance) = record[:10]
    primary, secondary, consolidated = record[10:13]
    emotion = None
    if primary is not None:
        emotion = Emotion(str(primary), None if secondary is None else str(secondary))
    return Memory(
        Row(int(memory_id or 0), json.loads(str(tags)), bytes(vector) if isinstance(vector, bytes) else b""),
        Record(
            created_at=int(created or 0),
            last_recalled=int(recalled or 0),
            fidelity=float(fidelity or 0.0),
            decay_alpha=float(alpha or 0.0),
            state=State(str(state)),
            keystone=bool(keystone),
            recall_count=int(recalls or 0),
            consolidation_depth=int(depth or 0),
            importance=float(importance or 0.0),
            emotion=emotion,
            consolidated_from=read_ids(str(consolidated or "")),
        ),
    )


def read_edge(columns: Sequence[Column]) -> Edge:
    _, _, source, target, label, kind, weight = columns[:7]
    return Edge(int(source or 0), int(target or 0), str(label), EdgeKind(str(kind)), float(weight or 0.0))


def read_event(columns: Sequence[Column]) -> Event:
    sequence, time_ms, kind, ids, detail = columns[:5]
    return Event(int(sequence or 0), int(time_ms or 0), str(kind), read_ids(str(ids)), str(detail))
