"""ferricula's text layouts, to the character. Text of memories is cut and stripped of line ends."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from memoryd.characters import one_line
from memoryd.graph import ARROWS, Graph
from memoryd.memory import Memory, Record, State
from memoryd.mirror import Mirror
from memoryd.requests import Hit

LINE_BYTES = 200


def cut(text: str, limit: int = LINE_BYTES) -> str:
    """At most `limit` bytes of UTF-8, ending at a whole character."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= limit else data[:limit].decode("utf-8", "ignore")


def recall_text(sql: str, hits: Sequence[Hit], total: int) -> str:
    lines = [
        f"  id={hit.memory.memory_id} fidelity={hit.memory.record.fidelity:.3f}"
        f" recalls={hit.memory.record.recall_count} text={cut(one_line(hit.memory.row.text))}"
        for hit in hits
    ]
    head = f"sql: {one_line(sql)}\nrecalled {len(hits)} memories resonance={len(hits)}/{total}:\n"
    return head + "\n".join(lines)


def status_text(name: str, mirror: Mirror, heat: float) -> str:
    kept = [state for state in State if state is not State.PRUNED]
    counts = " ".join(f"{state.value.lower()}={mirror.count(state)}" for state in kept)
    records = sum(mirror.count(state) for state in kept)
    terms = mirror.terms
    return (
        f"{name}:\n  rows={len(mirror)}\n  memories={records} ({counts})\n"
        f"  keystones={len(mirror.keystones)}\n  heat={heat:.2f}\n"
        f"  graph: {mirror.graph.node_count} nodes, {len(mirror.graph)} edges\n"
        f"  prime_tree: {len(terms)} terms, {len(terms)} nodes, {terms.member_count} members"
    )


def inspect_text(memory: Memory, graph: Graph, now: int) -> str:
    record = memory.record
    neighbors = list(graph.neighbors(memory.memory_id))
    return (
        f"memory id={memory.memory_id}:\n  state={record.state.value}\n  fidelity={record.fidelity:.4f}\n"
        f"  decay_alpha={record.decay_alpha:.5f} (effective={record.effective_alpha:.5f})\n"
        f"  keystone={str(record.keystone).lower()}\n  recalls={record.recall_count}\n"
        f"  consolidation_depth={record.consolidation_depth}\n  importance={record.importance:.2f}\n"
        f"  emotion={_emotion(record)}\n  provenance={_provenance(record)}\n"
        f"  created_at={_time(record.created_at)}\n  last_recalled={_time(record.last_recalled)}\n"
        f"  age={max(0, now - record.created_at)}s\n  staleness={max(0, now - record.last_recalled)}s\n"
        f"  graph: degree={len(neighbors)} neighbors={neighbors}"
    )


def neighbors_text(memory_id: int, mirror: Mirror) -> str:
    forward = mirror.graph.neighbors(memory_id)
    backward = mirror.graph.predecessors(memory_id)
    lines = [
        f"  {other} [{one_line(edge.label)} {ARROWS[edge.kind]}]"
        f" w={edge.weight:.2f}{_fidelity(mirror, other)}"
        for other, edge in forward.items()
    ]
    if backward:
        lines.append("  --- causal predecessors ---")
        lines += [
            f"  {other} [{one_line(edge.label)} <-] w={edge.weight:.2f}{_fidelity(mirror, other)}"
            for other, edge in backward.items()
        ]
    return f"neighbors of {memory_id} ({len(forward) + len(backward)}):\n" + "\n".join(lines)


def terms_text(terms: Iterable[tuple[str, int]]) -> str:
    lines = [f"  {one_line(term)}: {members} members" for term, members in terms]
    return f"terms ({len(lines)}):\n" + "\n".join(lines) if lines else "no terms"


def _emotion(record: Record) -> str:
    emotion = record.emotion
    if emotion is None:
        return "-"
    secondary = _word(emotion.secondary) if emotion.secondary else "-"
    return f"{_word(emotion.primary)}/{secondary}"


def _word(text: str) -> str:
    return re.sub(r"\s+", "_", one_line(text))


def _provenance(record: Record) -> str:
    if not record.consolidated_from:
        return "Ingested"
    return f"Consolidated {{ from: {list(record.consolidated_from)} }}"


def _fidelity(mirror: Mirror, memory_id: int) -> str:
    memory = mirror.get(memory_id)
    if memory is None or memory.record.state is State.PRUNED:
        return ""
    return f" fidelity={memory.record.fidelity:.3f}"


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
