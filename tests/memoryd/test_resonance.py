"""Heat, the gates of the archetypes, and what clients are told to leave alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from memoryd.dreams.resonance import ARCHETYPES, TOOLS, Mood, Resonance, awake_at, passes, tool_tier
from memoryd.memory import Record, State
from tests.memoryd.running import Running, running

NOW = 1_800_000_000.0
FRESH = Record(created_at=int(NOW) - 10, last_recalled=int(NOW) - 10)
AWAKE = Mood(active=ARCHETYPES)


def test_heat_cools_by_a_tenth_a_second_down_to_zero() -> None:
    mood = Mood().warmed(3.0, NOW)
    assert mood.heat_at(NOW + 10) == pytest.approx(2.0)
    assert mood.heat_at(NOW + 100) == 0.0
    assert mood.warmed(-3.5, NOW).heat == 0.0
    assert Mood.from_json(mood.to_json()) == mood


@pytest.mark.parametrize(
    ("intensity", "count"), [(0.0, 0), (0.24, 0), (0.25, 2), (0.74, 2), (0.75, 5), (1.0, 5)]
)
def test_intensity_wakes_archetypes(intensity: float, count: int) -> None:
    assert awake_at(intensity) == ARCHETYPES[:count]


@pytest.mark.parametrize(
    ("record", "lifecycle", "full"),
    [
        (FRESH, True, True),
        (replace(FRESH, fidelity=0.74), False, False),
        (replace(FRESH, state=State.FORGIVEN), False, False),
        (replace(FRESH, last_recalled=int(NOW) - 1), True, False),
        (replace(FRESH, last_recalled=int(NOW) - 172_801), True, False),
        (replace(FRESH, fidelity=0.1, state=State.ARCHIVED, keystone=True), True, True),
    ],
)
def test_gates_by_mode(record: Record, lifecycle: bool, full: bool) -> None:
    assert passes(record, Resonance.OFF, AWAKE, NOW)
    assert passes(record, Resonance.LIFECYCLE, AWAKE, NOW) is lifecycle
    assert passes(record, Resonance.FULL, AWAKE, NOW) is full
    assert passes(record, Resonance.FULL, Mood(), NOW)


def test_heat_closes_the_full_gates() -> None:
    hot = Mood(10.0, NOW, ("Craft",))
    assert not passes(FRESH, Resonance.FULL, hot, NOW)
    assert passes(FRESH, Resonance.FULL, replace(hot, active=("Fortune",)), NOW)
    assert not passes(FRESH, Resonance.FULL, Mood(10.1, NOW, ("Fortune",)), NOW)


@pytest.mark.parametrize(
    ("heat", "tier", "closed"),
    [(3.9, "NOMINAL", 0), (4, "ELEVATED", 4), (7, "HIGH", 5), (10, "CRITICAL", 13)],
)
def test_tool_tiers(heat: float, tier: str, closed: int) -> None:
    found = tool_tier(heat)
    assert (found.tier, len(found.suppressed), found.escalate) == (tier, closed, closed == 13)
    assert len(found.active_tools) + closed == len(TOOLS) == 13


async def test_full_resonance_hides_what_was_just_stored_after_a_dream(tmp_path: Path) -> None:
    async with running(tmp_path, "--resonance=full") as memoryd:
        await memoryd.text("POST", "/remember", {"text": "cats purr"})
        assert "resonance=1/1:" in await memoryd.text("POST", "/recall", {"text": "cats"})
        await memoryd.text("POST", "/dream")
        hidden = await memoryd.text("POST", "/recall", {"text": "cats"})
        assert hidden.endswith("\nrecalled 0 memories resonance=0/1:\n")
        await memoryd.text("POST", "/keystone/1")
        assert "resonance=1/1:" in await memoryd.text("POST", "/recall", {"text": "cats"})


async def test_lifecycle_hides_the_forgiven_but_grpc_and_search_still_find_them(memoryd: Running) -> None:
    row = {"id": 1, "tags": {"text": "cats purr"}, "vector": [1, 0], "decay_alpha": 0.02}
    await memoryd.text("POST", "/remember", row)
    for _ in range(15):
        await memoryd.text("POST", "/dream")
    assert "resonance=0/1:" in await memoryd.text("POST", "/recall", {"text": "cats"})
    assert [hit["id"] for hit in (await memoryd.data("POST", "/search", {"query": "cats"}))["results"]] == [1]
    assert (await memoryd.rpc.recall("cats"))[0].memory.memory_id == 1


async def test_what_the_gates_hold_back_takes_no_place_from_others(memoryd: Running) -> None:
    for number in range(1, 31):
        row = {"id": number, "tags": {"text": "cats purr and purr"}, "vector": [1, 0.0001 * number, 0]}
        await memoryd.text("POST", "/remember", row)
    for number, vector in ((40, [0, 1, 0]), (41, [0, 0, 1]), (42, [0, -1, 0])):
        row = {"id": number, "tags": {"text": f"one of {number} cats"}, "vector": vector}
        await memoryd.text("POST", "/remember", row)
    assert "consolidated=30" in await memoryd.text("POST", "/dream")  # 29 of them behind 30
    answer = await memoryd.text("POST", "/recall", {"text": "cats that purr", "k": 3})
    assert "recalled 3 memories resonance=3/3:" in answer
    assert answer.count("purr and purr") == 1
    answer = await memoryd.text("POST", "/recall", {"query": "SELECT id FROM docs", "k": 2})
    assert "recalled 2 memories resonance=2/33:\n  id=30 " in answer


async def test_recalling_heats_and_dreaming_cools(memoryd: Running) -> None:
    for number in range(20):
        await memoryd.rpc.remember(f"cat number {number}")
    await memoryd.rpc.recall("cat", limit=20)
    tools = await memoryd.data("GET", "/tools")
    assert tools["tier"] == "ELEVATED"
    assert "memory_dream" in tools["suppressed"]
    assert f"heat={tools['heat']:.2f}" == tools["reason"]
    await memoryd.rpc.dream()
    assert (await memoryd.data("GET", "/tools"))["tier"] == "NOMINAL"
