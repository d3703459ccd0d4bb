"""What callers ask of the engine and what it answers, whatever protocol they came by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from memoryd.memory import Emotion, Memory, State
from memoryd.retrieval.index import ArmRank


@dataclass(frozen=True)
class NewMemory:
    """`tags` includes the text. `memory_id` None lets the store choose; a known id is replaced.

    `vector` None lets the embedder make one; () stores none. `decay_alpha` is clamped.
    """

    tags: Mapping[str, str]
    vector: tuple[float, ...] | None = None
    memory_id: int | None = None
    importance: float = 0.0
    keystone: bool = False
    decay_alpha: float = 0.01
    emotion: Emotion | None = None
    idempotency_key: str = ""

    @property
    def text(self) -> str:
        return self.tags.get("text", "")


@dataclass(frozen=True)
class Remembered:
    memory_id: int
    created: bool
    duplicate_ids: tuple[int, ...]
    term_count: int


@dataclass(frozen=True)
class RecallQuery:
    """At least one of text, vector and tags. `states` empty means every state."""

    text: str = ""
    vector: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    limit: int = 10
    states: frozenset[State] = frozenset()
    minimum_score: float = 0.0


@dataclass(frozen=True)
class Hit:
    """A memory that was found, its score in 0..1 and what each arm thought of it."""

    memory: Memory
    score: float
    arms: tuple[ArmRank, ...] = ()


@dataclass(frozen=True)
class Recalled:
    """`memories` are as after the recall; `candidate_count` counts before filters and limit."""

    memories: tuple[Hit, ...]
    candidate_count: int
