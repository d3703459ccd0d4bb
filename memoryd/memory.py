"""The values that memoryd keeps: rows with tags and a vector, their records, and edges. Imports no I/O."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ALPHA_DEFAULT = 0.01
ALPHA_MINIMUM = 0.001
ALPHA_MAXIMUM = 0.02
ID_LIMIT = 2**32
TEXT_LIMIT_BYTES = 1024 * 1024


class State(StrEnum):
    """How far a memory has faded: Active -> Forgiven -> Archived -> Pruned, one way.

    Of a pruned memory only the row counts: to ferricula's clients its record is gone.
    """

    ACTIVE = "Active"
    FORGIVEN = "Forgiven"
    ARCHIVED = "Archived"
    PRUNED = "Pruned"


class EdgeKind(StrEnum):
    """Semantic and structural edges are seen from both ends, causal ones from their source only."""

    SEMANTIC = "semantic"
    CAUSAL = "causal"
    STRUCTURAL = "structural"


@dataclass(frozen=True, slots=True)
class Emotion:
    primary: str = "neutral"
    secondary: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What was remembered. `tags["text"]` is the text; `vector` is little-endian float32, b"" for none."""

    memory_id: int
    tags: Mapping[str, str]
    vector: bytes = b""

    @property
    def text(self) -> str:
        return self.tags.get("text", "")

    @property
    def dimension(self) -> int:
        return len(self.vector) // 4


@dataclass(frozen=True, slots=True)
class Record:
    """How a memory lives. Times are whole seconds since 1970 (UTC)."""

    created_at: int
    last_recalled: int
    fidelity: float = 1.0
    decay_alpha: float = ALPHA_DEFAULT
    state: State = State.ACTIVE
    keystone: bool = False
    recall_count: int = 0
    consolidation_depth: int = 0
    importance: float = 0.0
    emotion: Emotion | None = None
    consolidated_from: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # SQLite has no negative zero: it would come back as another value than the one that was written.
        object.__setattr__(self, "importance", self.importance + 0.0)
        object.__setattr__(self, "fidelity", self.fidelity + 0.0)

    @property
    def effective_alpha(self) -> float:
        """Decay per dream tick, softened by consolidation."""
        return self.decay_alpha / (1.0 + math.log1p(self.consolidation_depth))


@dataclass(frozen=True, slots=True)
class Memory:
    row: Row
    record: Record

    @property
    def memory_id(self) -> int:
        return self.row.memory_id


def is_still(row: Row, memory: Memory | None) -> bool:
    """Whether a memory is the one of this row: neither removed nor stored anew since.

    A vector that was made late changes the row, but not its tags.
    """
    return memory is not None and memory.row.tags is row.tags


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge per unordered pair; for causal edges the direction is from `source` to `target`."""

    source: int
    target: int
    label: str = "related"
    kind: EdgeKind = EdgeKind.SEMANTIC
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", self.weight + 0.0)  # no negative zero, as in Record

    @property
    def pair(self) -> tuple[int, int]:
        """The key of the edge: the smaller id first."""
        return (self.source, self.target) if self.source <= self.target else (self.target, self.source)


@dataclass(frozen=True, slots=True)
class Event:
    """One change of the store. `sequence` grows by one and is given by the engine."""

    sequence: int
    time_ms: int
    kind: str
    memory_ids: tuple[int, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RecordUpdate:
    """The whole new record of a memory that is already stored."""

    memory_id: int
    record: Record


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes that become durable together or not at all, applied in the order of the fields.

    `deletes` also removes the row's record and its edges, and comes first, so a batch may delete an id and
    store it again. `puts` inserts or replaces whole memories. `updates` of unknown ids do nothing.
    `disconnects` (pairs in any order, unknown ones do nothing) come before `connects`, which replace an
    edge of the same pair. `values` are named texts of the engine; None removes a name.
    """

    deletes: tuple[int, ...] = ()
    puts: tuple[Memory, ...] = ()
    updates: tuple[RecordUpdate, ...] = ()
    disconnects: tuple[tuple[int, int], ...] = ()
    connects: tuple[Edge, ...] = ()
    values: Mapping[str, str | None] = field(default_factory=dict)
    events: tuple[Event, ...] = ()


def clamp_alpha(alpha: float) -> float:
    """Brings a decay rate into its bounds, 0.001 to 0.02."""
    return min(ALPHA_MAXIMUM, max(ALPHA_MINIMUM, alpha))


def pack_vector(values: Iterable[float]) -> bytes:
    """Little-endian float32 bytes. Raises OverflowError for a number beyond float32."""
    numbers = list(values)
    return struct.pack(f"<{len(numbers)}f", *numbers)


def unpack_vector(vector: bytes) -> tuple[float, ...]:
    """The numbers of a packed vector."""
    return struct.unpack(f"<{len(vector) // 4}f", vector)
