"""What a dream decides: changes of records as differences, edges, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from memoryd.dreams.skg import Skg, SkgReport
from memoryd.memory import Edge, EdgeKind, Record, State, clamp_alpha


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A difference that a dream makes to one record, so that recalls made meanwhile are not lost."""

    memory_id: int
    fidelity_factor: float = 1.0
    alpha_factors: tuple[float, ...] = ()
    state: State | None = None
    depth: int = 0
    importance: float = 0.0
    consolidated_from: tuple[int, ...] = ()
    promote: bool = False

    def apply(self, record: Record) -> Record:
        alpha = record.decay_alpha
        for factor in self.alpha_factors:
            alpha = clamp_alpha(alpha * factor)
        state = self.state or record.state
        if record.keystone:
            state = record.state  # it became one while the dream was planned
        return replace(
            record,
            fidelity=record.fidelity * self.fidelity_factor,
            decay_alpha=alpha,
            state=state,
            consolidation_depth=record.consolidation_depth + self.depth,
            importance=record.importance + self.importance,
            consolidated_from=self.consolidated_from or record.consolidated_from,
            keystone=record.keystone or self.promote,
        )

    def to_row(self) -> list[Any]:
        """A short JSON form."""
        state = self.state.value if self.state else None
        return [
            self.memory_id,
            self.fidelity_factor,
            list(self.alpha_factors),
            state,
            self.depth,
            self.importance,
            list(self.consolidated_from),
            self.promote,
        ]

    @staticmethod
    def from_row(row: Sequence[Any]) -> RecordChange:
        memory_id, factor, alphas, state, depth, importance, consolidated, promote = row
        return RecordChange(
            memory_id,
            factor,
            tuple(alphas),
            State(state) if state else None,
            depth,
            importance,
            tuple(consolidated),
            promote,
        )


@dataclass(frozen=True)
class DreamReport:
    """What happened, with the ids that clients ask for, and the seed that would make it happen again."""

    intensity: float
    seed: bytes = b""
    seed_source: str = "none"
    ticks: int = 0
    decayed_ids: tuple[int, ...] = ()
    forgiven_ids: tuple[int, ...] = ()
    consolidated_ids: tuple[int, ...] = ()
    halo_touched: int = 0
    archived: int = 0
    pruned_ids: tuple[int, ...] = ()
    ghost_echoes: int = 0
    keystones_reviewed: int = 0
    keystones_promoted: int = 0
    edges_created: int = 0
    active_archetypes: tuple[str, ...] = ()
    skg: SkgReport = field(default_factory=SkgReport)


@dataclass(frozen=True)
class DreamPlan:
    changes: tuple[RecordChange, ...]
    disconnects: tuple[tuple[int, int], ...]
    connects: tuple[Edge, ...]
    skg: Skg
    report: DreamReport

    def touched(self) -> set[int]:
        """Every memory that the plan is about."""
        ids = {change.memory_id for change in self.changes}
        ids.update(*self.disconnects, *(edge.pair for edge in self.connects))
        return ids

    def without(self, gone: Set[int]) -> DreamPlan:
        """The plan as far as it leaves these memories alone, and those that were to be merged behind them."""
        if not gone:
            return self
        spared = set(gone)
        for change in self.changes:
            if change.memory_id in gone:
                spared.update(change.consolidated_from)
        return replace(
            self,
            changes=tuple(change for change in self.changes if change.memory_id not in spared),
            disconnects=tuple(pair for pair in self.disconnects if spared.isdisjoint(pair)),
            connects=tuple(edge for edge in self.connects if spared.isdisjoint(edge.pair)),
        )


class Draft:
    """Collects the changes of a dream while its phases read what the earlier ones have made of a record."""

    def __init__(self, records: Mapping[int, Record]) -> None:
        self._start = records
        self._records: dict[int, Record] = dict(records)
        self._changes: dict[int, RecordChange] = {}

    def items(self) -> list[tuple[int, Record]]:
        """Records as they now are, by ascending id."""
        return list(self._records.items())

    def get(self, memory_id: int) -> Record | None:
        return self._records.get(memory_id)

    def scale_alpha(self, memory_id: int, factor: float) -> None:
        change = self._changes.get(memory_id) or RecordChange(memory_id)
        self._set(replace(change, alpha_factors=(*change.alpha_factors, factor)))

    def scale_fidelity(self, memory_id: int, factor: float) -> None:
        change = self._changes.get(memory_id) or RecordChange(memory_id)
        self._set(replace(change, fidelity_factor=change.fidelity_factor * factor))

    def set_state(self, memory_id: int, state: State) -> None:
        change = self._changes.get(memory_id) or RecordChange(memory_id)
        self._set(replace(change, state=state))

    def consolidate(self, memory_id: int, group: tuple[int, ...]) -> None:
        change = self._changes.get(memory_id) or RecordChange(memory_id)
        absorbed = len(group) - 1
        self._set(
            replace(
                change,
                depth=change.depth + 1,
                importance=change.importance + 0.1 * absorbed,
                consolidated_from=group,
            )
        )

    def promote(self, memory_id: int) -> None:
        change = self._changes.get(memory_id) or RecordChange(memory_id)
        self._set(replace(change, promote=True))

    def changes(self) -> tuple[RecordChange, ...]:
        return tuple(self._changes[memory_id] for memory_id in sorted(self._changes))

    def _set(self, change: RecordChange) -> None:
        self._changes[change.memory_id] = change
        self._records[change.memory_id] = change.apply(self._start[change.memory_id])


def edge_row(edge: Edge) -> list[Any]:
    """A short JSON form of an edge."""
    return [edge.source, edge.target, edge.label, edge.kind.value, edge.weight]


def read_edge_row(row: Sequence[Any]) -> Edge:
    source, target, label, kind, weight = row
    return Edge(source, target, label, EdgeKind(kind), weight)
