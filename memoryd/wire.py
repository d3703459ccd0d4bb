"""Between the engine's values and the messages of memory.proto."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autoresearch.memory.v1 import memory_pb2 as pb

from memoryd.characters import clean
from memoryd.dreams.plan import DreamReport
from memoryd.memory import Edge, EdgeKind, Emotion, Event, Memory, State
from memoryd.requests import Hit, NewMemory
from services.errors import InvalidArgumentError

STATES = {
    pb.MEMORY_STATE_ACTIVE: State.ACTIVE,
    pb.MEMORY_STATE_FORGIVEN: State.FORGIVEN,
    pb.MEMORY_STATE_ARCHIVED: State.ARCHIVED,
    pb.MEMORY_STATE_PRUNED: State.PRUNED,
}
STATE_NUMBERS = {state: number for number, state in STATES.items()}
KINDS = {
    pb.EDGE_KIND_UNSPECIFIED: EdgeKind.SEMANTIC,
    pb.EDGE_KIND_SEMANTIC: EdgeKind.SEMANTIC,
    pb.EDGE_KIND_CAUSAL: EdgeKind.CAUSAL,
    pb.EDGE_KIND_STRUCTURAL: EdgeKind.STRUCTURAL,
}
KIND_NUMBERS = {kind: number for number, kind in KINDS.items()}


def new_memory(request: pb.RememberRequest) -> NewMemory:
    """Raises InvalidArgumentError for what only the wire can carry."""
    if "text" in request.tags:
        raise InvalidArgumentError('tags: "text" is reserved; use the field text', field="tags")
    tags = {clean(name): clean(value) for name, value in request.tags.items()}
    if request.text or not tags:
        tags = {"text": clean(request.text), **tags}
    if not request.text and not request.tags and not request.vector:
        raise InvalidArgumentError("text: is empty; give a text, tags or a vector", field="text")
    emotion = None
    if request.emotion_primary or request.emotion_secondary:
        emotion = Emotion(request.emotion_primary or "neutral", request.emotion_secondary or None)
    return NewMemory(
        tags=tags,
        vector=tuple(request.vector) or None,
        memory_id=request.memory_id if request.HasField("memory_id") else None,
        importance=request.importance,
        keystone=request.keystone,
        decay_alpha=request.decay_alpha if request.HasField("decay_alpha") else 0.01,
        emotion=emotion,
        idempotency_key=request.idempotency_key,
    )


def read_states(numbers: Iterable[pb.MemoryState.ValueType]) -> frozenset[State]:
    """Raises InvalidArgumentError (UNSPECIFIED_ENUM) for a number without a meaning."""
    found = set()
    for number in numbers:
        if number not in STATES:
            raise InvalidArgumentError(
                f"states: {number} is no state; use ACTIVE, FORGIVEN, ARCHIVED or PRUNED",
                field="states",
                reason="UNSPECIFIED_ENUM",
            )
        found.add(STATES[number])
    return frozenset(found)


def read_kind(number: pb.EdgeKind.ValueType) -> EdgeKind:
    """Raises InvalidArgumentError (UNSPECIFIED_ENUM) for a number without a meaning."""
    if number not in KINDS:
        raise InvalidArgumentError(f"kind: {number} is no edge kind", field="kind", reason="UNSPECIFIED_ENUM")
    return KINDS[number]


def memory_message(memory: Memory) -> pb.Memory:
    row, record = memory.row, memory.record
    tags: Mapping[str, str] = {name: value for name, value in row.tags.items() if name != "text"}
    message = pb.Memory(
        memory_id=row.memory_id,
        text=row.text,
        tags=tags,
        state=STATE_NUMBERS[record.state],
        fidelity=record.fidelity,
        decay_alpha=record.decay_alpha,
        effective_alpha=record.effective_alpha,
        keystone=record.keystone,
        recall_count=record.recall_count,
        consolidation_depth=record.consolidation_depth,
        importance=record.importance,
        emotion_primary=record.emotion.primary if record.emotion else "",
        emotion_secondary=(record.emotion.secondary or "") if record.emotion else "",
        vector_dimension=row.dimension,
        consolidated_from=record.consolidated_from,
    )
    message.create_time.FromSeconds(record.created_at)
    message.last_recall_time.FromSeconds(record.last_recalled)
    return message


def hit_message(hit: Hit) -> pb.RecalledMemory:
    arms = [pb.ArmScore(arm=arm.arm, rank=arm.rank, score=arm.score) for arm in hit.arms]
    return pb.RecalledMemory(memory=memory_message(hit.memory), score=hit.score, arms=arms)


def edge_message(edge: Edge) -> pb.Edge:
    return pb.Edge(
        from_memory_id=edge.source,
        to_memory_id=edge.target,
        label=edge.label,
        kind=KIND_NUMBERS[edge.kind],
        weight=edge.weight,
    )


def report_message(report: DreamReport, text: str) -> pb.DreamReport:
    return pb.DreamReport(
        ticks=report.ticks,
        decayed_ids=report.decayed_ids,
        forgiven_ids=report.forgiven_ids,
        consolidated_ids=report.consolidated_ids,
        archived_count=report.archived,
        pruned_count=len(report.pruned_ids),
        ghost_echo_count=report.ghost_echoes,
        keystones_reviewed=report.keystones_reviewed,
        keystones_promoted=report.keystones_promoted,
        edges_created=report.edges_created,
        active_archetypes=report.active_archetypes,
        seed_source=report.seed_source,
        seed=report.seed,
        text=text,
    )


def event_message(event: Event) -> pb.WatchEventsResponse:
    message = pb.WatchEventsResponse(
        sequence=event.sequence, kind=event.kind, memory_ids=event.memory_ids, detail=event.detail
    )
    message.event_time.FromMilliseconds(event.time_ms)
    return message
