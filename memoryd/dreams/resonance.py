"""Heat and archetypes: which recalled memories resonate, and how hot recalling has made the store."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum

from memoryd.memory import Record, State

ARCHETYPES = ("Intuition", "Fortune", "Craft", "Ethics", "Advocate")
HEAT_PER_RECALL = 0.3
HEAT_PER_DREAM = -3.0
COOLING_PER_SECOND = 0.1
INTUITION_SECONDS = (2, 172_800)


class Resonance(StrEnum):
    """Which gates recall applies after a dream."""

    OFF = "off"
    LIFECYCLE = "lifecycle"  # Advocate (fidelity) and Ethics (state)
    FULL = "full"  # the three others too, as ferricula 0.9


@dataclass(frozen=True, slots=True)
class Mood:
    """Heat at a time (seconds since 1970), and the archetypes that the last dream left awake."""

    heat: float = 0.0
    heated_at: float = 0.0
    active: tuple[str, ...] = ()

    def heat_at(self, now: float) -> float:
        """Heat after passive cooling, never below zero."""
        return max(0.0, self.heat - COOLING_PER_SECOND * max(0.0, now - self.heated_at))

    def warmed(self, amount: float, now: float) -> Mood:
        return replace(self, heat=max(0.0, self.heat_at(now) + amount), heated_at=now)

    def to_json(self) -> str:
        return json.dumps({"heat": self.heat, "heated_at": self.heated_at, "active": list(self.active)})

    @staticmethod
    def from_json(text: str | None) -> Mood:
        """A stored mood; a calm one where there is none."""
        if text is None:
            return Mood()
        data = json.loads(text)
        active = tuple(name for name in ARCHETYPES if name in data["active"])
        return Mood(float(data["heat"]), float(data["heated_at"]), active)


def awake_at(intensity: float) -> tuple[str, ...]:
    """The archetypes that a dream of this intensity wakes."""
    if intensity < 0.25:
        return ()
    return ARCHETYPES[:2] if intensity < 0.75 else ARCHETYPES


def passes(record: Record, mode: Resonance, mood: Mood, now: float) -> bool:
    """Whether a memory passes the gates of the archetypes that are awake; keystones always do.

    A pruned one has no record, and never does.
    """
    if record.state is State.PRUNED:
        return False
    if mode is Resonance.OFF or record.keystone:
        return True
    active = mood.active
    if "Advocate" in active and record.fidelity < 0.75:
        return False
    if "Ethics" in active and record.state is not State.ACTIVE:
        return False
    if mode is Resonance.LIFECYCLE:
        return True
    idle = int(now) - record.last_recalled
    if "Intuition" in active and not INTUITION_SECONDS[0] <= idle <= INTUITION_SECONDS[1]:
        return False
    heat = mood.heat_at(now)
    if "Fortune" in active and heat > 10:
        return False
    return not ("Craft" in active and heat >= 10)


@dataclass(frozen=True, slots=True)
class ToolTier:
    """Which tools a client should still offer at this heat."""

    tier: str
    heat: float
    escalate: bool
    active_tools: tuple[str, ...]
    suppressed: tuple[str, ...]


TOOLS = (
    "memory_recall",
    "memory_search",
    "memory_remember",
    "memory_inspect",
    "memory_get",
    "memory_neighbors",
    "memory_connect",
    "memory_disconnect",
    "memory_keystone",
    "memory_delete",
    "memory_dream",
    "memory_status",
    "ui_command",
)
_ELEVATED = ("memory_dream", "memory_connect", "memory_disconnect", "memory_keystone")


def tool_tier(heat: float) -> ToolTier:
    """The tier of a heat: NOMINAL, ELEVATED from 4, HIGH from 7, CRITICAL from 10."""
    if heat >= 10:
        return ToolTier("CRITICAL", heat, True, (), TOOLS)
    closed: tuple[str, ...]
    if heat >= 7:
        name, closed = "HIGH", (*_ELEVATED, "memory_delete")
    elif heat >= 4:
        name, closed = "ELEVATED", _ELEVATED
    else:
        name, closed = "NOMINAL", ()
    open_tools = tuple(tool for tool in TOOLS if tool not in closed)
    return ToolTier(name, heat, False, open_tools, closed)
