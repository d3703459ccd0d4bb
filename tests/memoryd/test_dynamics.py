"""Decay, recall and dreams as pure functions: goldens, and the laws that hold for any store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryd.dreams.dream import DreamInput, explorers, plan_dream, select
from memoryd.dreams.dynamics import FORGIVE_BELOW, fade_factor, recalled
from memoryd.dreams.plan import DreamPlan, RecordChange
from memoryd.dreams.pruning import FADED_BELOW
from memoryd.dreams.skg import Skg
from memoryd.graph import Graph
from memoryd.memory import Edge, EdgeKind, Record, State

NOW = 1_800_000_000


def record(**changes: object) -> Record:
    return replace(Record(created_at=NOW, last_recalled=NOW), **changes)  # type: ignore[arg-type]


def dream(
    records: Mapping[int, Record],
    *,
    graph: Graph | None = None,
    similar: Mapping[int, tuple[int, ...]] | None = None,
    cosines: Mapping[tuple[int, int], float] | None = None,
    terms: Mapping[str, frozenset[int]] | None = None,
    intensity: float = 1.0,
    seed: bytes = b"",
    now: int = NOW,
    echoes: Mapping[int, str | None] | None = None,
) -> DreamPlan:
    return plan_dream(
        DreamInput(
            records,
            graph or Graph(),
            similar or {},
            lambda first, second: (cosines or {}).get((first, second)),
            terms or {},
            Skg(),
            intensity,
            seed,
            "test",
            now,
            echoes=echoes or {},
        )
    )


def after(plan: DreamPlan, records: Mapping[int, Record]) -> dict[int, Record]:
    changes = {change.memory_id: change for change in plan.changes}
    return {i: changes[i].apply(old) if i in changes else old for i, old in records.items()}


@pytest.mark.parametrize(
    ("alpha", "ticks"), [(0.010, 29), (0.015, 20), (0.020, 15), (0.003, 96), (0.001, 288)]
)
def test_ticks_until_a_memory_is_forgiven(alpha: float, ticks: int) -> None:
    memory, count = record(decay_alpha=alpha), 0
    while memory.fidelity >= FORGIVE_BELOW:
        memory = replace(memory, fidelity=memory.fidelity * fade_factor(memory))
        count += 1
    assert count == ticks


def test_one_tick_and_the_effect_of_consolidation() -> None:
    assert round(fade_factor(record()), 4) == 0.9900
    assert round(record(consolidation_depth=1).effective_alpha, 5) == 0.00591


def test_recall_slows_the_decay_down_to_the_floor() -> None:
    memory = recalled(record(), NOW + 5)
    assert (memory.recall_count, memory.last_recalled, memory.decay_alpha) == (1, NOW + 5, 0.0095)
    for _ in range(100):
        memory = recalled(memory, NOW)
    assert memory.decay_alpha == 0.001


def test_a_seed_selects_by_its_bytes_and_no_seed_by_prefix() -> None:
    assert select([1, 2, 3, 4], 0.5, b"") == [1, 2]
    assert select([1, 2, 3], 0.5, b"\x7e\x7f") == [1, 3]  # floor(0.5 * 255) = 127
    assert select([1, 2], 1.0, b"\xff") == [1, 2]
    assert select([1, 2], 0.0, b"\x00") == []


def test_explorers_follow_the_seed_and_are_topped_up() -> None:
    assert explorers([10, 11, 12, 13], b"\x00\x01", 3) == [11, 10, 12]
    assert explorers([10, 11], b"", 5) == [10, 11]
    assert explorers([], b"\x01", 5) == []


def test_neighbours_of_a_keystone_fade_more_slowly() -> None:
    graph = Graph()
    graph.connect(Edge(1, 2))
    records = {1: record(keystone=True), 2: record(), 3: record()}
    plan = dream(records, graph=graph, intensity=0.0)
    assert plan.report.halo_touched == 1
    assert after(plan, records)[2].decay_alpha == pytest.approx(0.0099)


def test_a_keystone_is_neither_ticked_nor_forgiven_nor_absorbed() -> None:
    records = {1: record(keystone=True, fidelity=0.2), 2: record()}
    plan = dream(records, similar={1: (2,)})
    assert after(plan, records)[1] == records[1]
    assert plan.report.consolidated_ids == ()
    assert plan.report.keystones_reviewed == 1


def test_a_group_is_not_transitive_and_its_best_survives() -> None:
    records = {1: record(fidelity=0.9), 2: record(fidelity=0.95), 3: record(fidelity=0.99)}
    plan = dream(records, similar={1: (2,), 2: (3,)}, intensity=0.0)
    assert plan.report.consolidated_ids == (1, 2)
    changed = after(plan, records)
    assert (changed[2].consolidation_depth, changed[2].consolidated_from) == (1, (1, 2))
    assert changed[2].importance == pytest.approx(0.1)
    assert changed[1].state is State.ARCHIVED
    assert changed[3] == records[3]


def test_the_survivor_takes_over_the_edges_of_the_absorbed() -> None:
    graph = Graph()
    graph.connect(Edge(1, 7, "old"))
    graph.connect(Edge(1, 8, "old"))
    graph.connect(Edge(2, 8, "order", EdgeKind.STRUCTURAL))
    records = {1: record(fidelity=0.9), 2: record(), 7: record(), 8: record()}
    plan = dream(records, graph=graph, similar={1: (2,)}, intensity=0.0)
    assert plan.report.edges_created == 2
    assert Edge(2, 7, "consolidated", EdgeKind.SEMANTIC, 0.5) in plan.connects
    assert Edge(2, 1, "absorbed", EdgeKind.CAUSAL, 1.0) in plan.connects
    assert not any(edge.pair == (2, 8) for edge in plan.connects)
    assert set(plan.disconnects) == {(1, 7), (1, 8)}


def test_discovery_connects_what_is_similar_but_not_the_same() -> None:
    records = {number: record() for number in (1, 2, 3)}
    cosines = {(1, 2): 0.75, (1, 3): 0.86, (2, 3): 0.69}
    plan = dream(records, cosines=cosines, intensity=0.5)
    assert plan.connects == (Edge(1, 2, "semantic", EdgeKind.SEMANTIC, 0.75),)
    assert dream(records, cosines=cosines, intensity=0.2).connects == ()


def test_neglect_promotion_and_archiving() -> None:
    day = 86_401
    records = {
        1: record(last_recalled=NOW - day),
        2: record(recall_count=5),
        3: record(state=State.FORGIVEN, last_recalled=NOW - 3601),
        4: record(state=State.FORGIVEN, last_recalled=NOW - 3600),
        5: record(recall_count=5),
        6: record(fidelity=0.7),
    }
    plan = dream(records, intensity=0.8, seed=b"\xff")
    changed = after(plan, records)
    assert changed[1].decay_alpha == pytest.approx(0.01005)
    assert changed[2].keystone
    assert not changed[5].keystone
    assert (changed[3].state, changed[4].state) == (State.ARCHIVED, State.FORGIVEN)
    assert plan.report.forgiven_ids == (6,)
    assert changed[6].state is State.FORGIVEN  # archived by a later dream at the earliest


def test_a_change_is_a_difference_and_keeps_what_came_between() -> None:
    change = RecordChange(1, fidelity_factor=0.99, alpha_factors=(0.99, 1.005), state=State.FORGIVEN)
    between = recalled(record(), NOW + 9)
    changed = change.apply(between)
    assert (changed.recall_count, changed.last_recalled) == (1, NOW + 9)
    assert changed.fidelity == 0.99
    assert RecordChange.from_row(change.to_row()) == change


records_strategy = st.dictionaries(
    st.integers(0, 30),
    st.builds(
        record,
        fidelity=st.floats(0.0, 1.0) | st.just(1e-8),
        decay_alpha=st.floats(0.001, 0.02),
        state=st.sampled_from(State),
        keystone=st.booleans(),
        recall_count=st.integers(0, 10),
        consolidation_depth=st.integers(0, 5),
        last_recalled=st.integers(NOW - 200_000, NOW),
    ),
    max_size=15,
).map(lambda found: dict(sorted(found.items())))


@given(records=records_strategy, intensity=st.floats(0, 1), seed=st.binary(max_size=8), data=st.data())
def test_no_dream_breaks_the_laws_of_the_lifecycle(
    records: dict[int, Record], intensity: float, seed: bytes, data: st.DataObject
) -> None:
    ids = list(records)
    similar = {
        first: tuple(other for other in ids if other > first and data.draw(st.booleans())) for first in ids
    }
    echoes = dict.fromkeys(ids, "echo")
    plan = dream(records, similar=similar, intensity=intensity, seed=seed, echoes=echoes)
    again = dream(records, similar=similar, intensity=intensity, seed=seed, echoes=echoes)
    assert plan == again
    order = list(State)
    for memory_id, new in after(plan, records).items():
        old = records[memory_id]
        assert 0.0 <= new.fidelity <= old.fidelity
        assert 0.001 <= new.decay_alpha <= 0.02
        assert order.index(new.state) >= order.index(old.state)
        assert new.keystone or not old.keystone
        newly_pruned = new.state is State.PRUNED and old.state is not State.PRUNED
        assert newly_pruned == (memory_id in plan.report.pruned_ids)
        if newly_pruned:
            assert new.fidelity < FADED_BELOW
            assert not new.keystone
        if old.keystone:
            assert (new.fidelity, new.state) == (old.fidelity, old.state)
    assert len(set(plan.report.consolidated_ids)) == len(plan.report.consolidated_ids)
    assert plan.report.ticks == len(plan.report.decayed_ids)
