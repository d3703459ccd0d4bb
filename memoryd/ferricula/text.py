"""Reads what a ferricula prints: the only module that knows its prose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from memoryd.memory import Edge, EdgeKind, Emotion, Record, State

_EDGE = re.compile(
    r"^  (?P<id>\d+) \[(?P<label>.*) (?P<arrow><->|->|<~>|<-)\] w=(?P<weight>[\d.]+)(?: fidelity=[\d.]+)?$"
)
_KINDS = {"<->": EdgeKind.SEMANTIC, "->": EdgeKind.CAUSAL, "<~>": EdgeKind.STRUCTURAL}


def read_record(text: str) -> Record:
    """The record that /inspect prints; numbers as short as they are printed.

    Raises ValueError for another text.
    """
    fields = dict(line.strip().split("=", 1) for line in text.splitlines()[1:] if "=" in line)
    try:
        return Record(
            created_at=_seconds(fields["created_at"]),
            last_recalled=_seconds(fields["last_recalled"]),
            fidelity=float(fields["fidelity"]),
            decay_alpha=float(fields["decay_alpha"].split()[0]),
            state=State(fields["state"]),
            keystone=fields["keystone"] == "true",
            recall_count=int(fields["recalls"]),
            consolidation_depth=int(fields["consolidation_depth"]),
            importance=float(fields["importance"]),
            emotion=_emotion(fields["emotion"]),
            consolidated_from=_sources(fields["provenance"]),
        )
    except KeyError as error:
        raise ValueError(f"/inspect answered without {error}") from error


def read_edges(memory_id: int, text: str) -> Iterator[Edge]:
    """The edges that /neighbors prints for a memory; causal ones into it included."""
    for line in text.splitlines()[1:]:
        match = _EDGE.match(line)
        if match is None:
            continue
        other, label, weight = int(match["id"]), match["label"], float(match["weight"])
        if match["arrow"] == "<-":
            yield Edge(other, memory_id, label, EdgeKind.CAUSAL, weight)
        else:
            yield Edge(memory_id, other, label, _KINDS[match["arrow"]], weight)


def read_counts(text: str) -> tuple[int, int]:
    """Rows and edges of /status. Raises ValueError for another text."""
    rows, edges = re.search(r"rows=(\d+)", text), re.search(r"(\d+) edges", text)
    if rows is None or edges is None:
        raise ValueError("/status answered without rows and edges")
    return int(rows[1]), int(edges[1])


def _seconds(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def _emotion(text: str) -> Emotion | None:
    if text == "-":
        return None
    primary, _, secondary = text.partition("/")
    return Emotion(primary, None if secondary in ("", "-") else secondary)


def _sources(text: str) -> tuple[int, ...]:
    listed = re.search(r"from: \[([\d, ]*)\]", text)
    return tuple(int(part) for part in listed[1].split(",") if part.strip()) if listed else ()
