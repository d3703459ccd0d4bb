"""One dream: a pure function of the store, an intensity, seed bytes and the time.

Iterates by ascending id, never absorbs or forgives a keystone, bounds the size of a group, and never
removes a text. Order of the phases as in ferricula 0.9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from memoryd.dreams.dynamics import (
    ARCHIVED_AFTER,
    HALO_FACTOR,
    NEGLECT_FACTOR,
    NEGLECTED_AFTER,
    fade_factor,
    is_below_gate,
    staleness,
)
from memoryd.dreams.links import Links
from memoryd.dreams.plan import Draft, DreamPlan, DreamReport
from memoryd.dreams.pruning import prune
from memoryd.dreams.resonance import awake_at
from memoryd.dreams.skg import Skg
from memoryd.graph import Graph
from memoryd.memory import Edge, EdgeKind, Record, State

GROUP_LIMIT = 64
DISCOVERY_FROM, DISCOVERY_BELOW = 0.70, 0.85


@dataclass(frozen=True)
class DreamSettings:
    """Bounds of the semantic discovery, and whether archived memories fade on until they are pruned."""

    anchors: int = 10
    explorers: int = 30
    edges_per_dream: int = 12
    fade_archived: bool = False


@dataclass(frozen=True)
class DreamInput:
    """A snapshot that nobody changes while the dream is planned.

    `records` by ascending id; `similar` gives for an id the larger ids whose cosine is at least 0.85,
    ascending; `cosine` gives the cosine of two ids or None; `terms` holds the members of the terms around
    the keystones, empty where there are none; `echoes` gives for each id that may be pruned now what its
    vector still tells, None for nothing.
    """

    records: Mapping[int, Record]
    graph: Graph
    similar: Mapping[int, tuple[int, ...]]
    cosine: Callable[[int, int], float | None]
    terms: Mapping[str, Set[int]]
    skg: Skg
    intensity: float
    seed: bytes
    seed_source: str
    now: int
    settings: DreamSettings = field(default_factory=DreamSettings)
    echoes: Mapping[int, str | None] = field(default_factory=dict)


def plan_dream(given: DreamInput) -> DreamPlan:
    """Decides everything that this dream changes; changes nothing itself."""
    draft, graph = Draft(given.records), given.graph
    awake = awake_at(given.intensity)
    keystones = [memory_id for memory_id, record in given.records.items() if record.keystone]
    forgiven_before = [
        memory_id for memory_id, record in given.records.items() if record.state is State.FORGIVEN
    ]
    halo = _halo(draft, graph, keystones)
    decayed = _decay(draft, given.intensity, given.seed)
    if given.settings.fade_archived:  # ferricula leaves them as they are
        archives = [
            memory_id
            for memory_id, record in given.records.items()
            if record.state is State.ARCHIVED and not record.keystone
        ]
        _tick(draft, select(archives, given.intensity, given.seed))
    forgiven = _forgive(draft)
    links = Links(graph)
    consolidated, absorbed_edges = _consolidate(draft, links, given.similar)
    discovered = _discover(draft, links, given) if "Intuition" in awake else 0
    skg, skg_report = given.skg.observed(given.terms)
    for memory_id, record in draft.items():
        if record.state is State.ACTIVE and staleness(record, given.now) > NEGLECTED_AFTER:
            draft.scale_alpha(memory_id, NEGLECT_FACTOR)
    promoted = _promote(draft) if "Ethics" in awake else 0
    archived = 0
    for memory_id in forgiven_before:
        record = given.records[memory_id]
        if not record.keystone and staleness(record, given.now) > ARCHIVED_AFTER:
            draft.set_state(memory_id, State.ARCHIVED)
            archived += 1
    pruned, ghost_echoes = prune(draft, links, given.echoes)
    report = DreamReport(
        intensity=given.intensity,
        seed=given.seed,
        seed_source=given.seed_source,
        ticks=len(decayed),
        decayed_ids=tuple(decayed),
        forgiven_ids=tuple(forgiven),
        consolidated_ids=tuple(consolidated),
        halo_touched=halo,
        archived=archived,
        pruned_ids=tuple(pruned),
        ghost_echoes=ghost_echoes,
        keystones_reviewed=len(keystones),
        keystones_promoted=promoted,
        edges_created=absorbed_edges + discovered,
        active_archetypes=awake,
        skg=skg_report,
    )
    return DreamPlan(draft.changes(), links.removed(), links.added(), skg, report)


def _halo(draft: Draft, graph: Graph, keystones: list[int]) -> int:
    near = {neighbor for keystone in keystones for neighbor in graph.neighbors(keystone)}
    touched = 0
    for memory_id in sorted(near):
        record = draft.get(memory_id)
        if record is not None and record.state is State.ACTIVE and not record.keystone:
            draft.scale_alpha(memory_id, HALO_FACTOR)
            touched += 1
    return touched


def _decay(draft: Draft, intensity: float, seed: bytes) -> list[int]:
    candidates = [
        memory_id
        for memory_id, record in draft.items()
        if record.state is State.ACTIVE and not record.keystone
    ]
    chosen = select(candidates, intensity, seed)
    _tick(draft, chosen)
    return chosen


def _tick(draft: Draft, chosen: list[int]) -> None:
    """One tick of decay for each."""
    for memory_id in chosen:
        record = draft.get(memory_id)
        if record is not None:
            draft.scale_fidelity(memory_id, fade_factor(record))


def select(candidates: list[int], intensity: float, seed: bytes) -> list[int]:
    """The candidates that a dream of this intensity ticks; without a seed the first ones."""
    if intensity >= 1:
        return candidates
    if intensity <= 0:
        return []
    if not seed:
        return candidates[: math.ceil(len(candidates) * intensity)]
    gate = math.floor(intensity * 255)
    return [memory_id for position, memory_id in enumerate(candidates) if seed[position % len(seed)] < gate]


def _forgive(draft: Draft) -> list[int]:
    forgiven = [memory_id for memory_id, record in draft.items() if is_below_gate(record)]
    for memory_id in forgiven:
        draft.set_state(memory_id, State.FORGIVEN)
    return forgiven


def _consolidate(draft: Draft, links: Links, similar: Mapping[int, tuple[int, ...]]) -> tuple[list[int], int]:
    assigned: set[int] = set()
    consolidated: list[int] = []
    edges = 0

    def free(memory_id: int) -> bool:
        record = draft.get(memory_id)
        return (
            memory_id not in assigned
            and record is not None
            and record.state is State.ACTIVE
            and not record.keystone
        )

    for first in sorted(similar):
        if not free(first):
            continue
        group = (first, *(other for other in similar[first] if free(other)))[:GROUP_LIMIT]
        if len(group) < 2:
            continue
        assigned.update(group)
        consolidated.extend(group)
        survivor = max(group, key=lambda memory_id: (_fidelity(draft, memory_id), memory_id))
        draft.consolidate(survivor, group)
        for absorbed in group:
            if absorbed != survivor:
                edges += _absorb(draft, links, survivor, absorbed)
    return consolidated, edges


def _absorb(draft: Draft, links: Links, survivor: int, absorbed: int) -> int:
    created = 0
    for neighbor in links.graph.neighbors(absorbed):
        if neighbor in (survivor, absorbed):
            continue
        existing = links.graph.edge(survivor, neighbor)
        if existing is not None and existing.kind is EdgeKind.STRUCTURAL:
            continue
        links.connect(Edge(survivor, neighbor, "consolidated", EdgeKind.SEMANTIC, 0.5))
        created += 1
    links.remove_node(absorbed)
    links.connect(Edge(survivor, absorbed, "absorbed", EdgeKind.CAUSAL, 1.0))
    draft.set_state(absorbed, State.ARCHIVED)
    return created + 1


def _fidelity(draft: Draft, memory_id: int) -> float:
    record = draft.get(memory_id)
    return record.fidelity if record is not None else 0.0


def _discover(draft: Draft, links: Links, given: DreamInput) -> int:
    active = [(memory_id, record) for memory_id, record in draft.items() if record.state is State.ACTIVE]
    by_fidelity = sorted(active, key=lambda item: (-item[1].fidelity, item[0]))
    anchors = sorted(memory_id for memory_id, _ in by_fidelity[: given.settings.anchors])
    chosen = set(anchors)
    rest = [memory_id for memory_id, _ in active if memory_id not in chosen]
    nodes = anchors + explorers(rest, given.seed, given.settings.explorers)
    created = 0
    for position, first in enumerate(nodes):
        for second in nodes[position + 1 :]:
            if created >= given.settings.edges_per_dream:
                return created
            if links.graph.edge(first, second) is not None:
                continue
            cosine = given.cosine(first, second)
            if cosine is not None and DISCOVERY_FROM <= cosine < DISCOVERY_BELOW:
                links.connect(Edge(first, second, "semantic", EdgeKind.SEMANTIC, cosine))
                created += 1
    return created


def explorers(rest: list[int], seed: bytes, count: int) -> list[int]:
    """Ids that the seed bytes point to, topped up from the head of `rest`."""
    found: dict[int, None] = {}
    if seed and rest:
        for step in range(4 * len(seed)):
            if len(found) >= count:
                break
            high, low = seed[step % len(seed)], seed[(step + 1) % len(seed)]
            found[rest[(high * 256 + low) % len(rest)]] = None
    for memory_id in rest:
        if len(found) >= count:
            break
        found[memory_id] = None
    return list(found)


def _promote(draft: Draft) -> int:
    for memory_id, record in draft.items():
        worthy = record.recall_count >= 5 and record.fidelity > 0.95
        if record.state is State.ACTIVE and not record.keystone and worthy:
            draft.promote(memory_id)
            return 1
    return 0
