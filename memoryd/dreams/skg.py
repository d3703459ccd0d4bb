"""The semantic knowledge graph: how the overlap of terms around the keystones moves from dream to dream."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations

RING = 16
TRACKED_TERMS = 20
FORGOTTEN_AFTER = 32  # ticks without an observation
REPORTED = 5

Observation = tuple[int, float]  # (dream tick, Jaccard overlap)
Pair = tuple[str, str]


@dataclass(frozen=True)
class Motion:
    """Velocity and acceleration of an overlap, and its Weber bracket v^2 + s*a; None before it is known."""

    velocity: float | None = None
    acceleration: float | None = None
    weber_bracket: float | None = None


@dataclass(frozen=True)
class PairState:
    term_a: str
    term_b: str
    history: tuple[Observation, ...]

    @property
    def jaccard(self) -> float:
        return self.history[-1][1]

    @property
    def motion(self) -> Motion:
        return motion_of(self.history)


@dataclass(frozen=True)
class SkgReport:
    sampled: int = 0
    tracked: int = 0
    emerging: tuple[Pair, ...] = ()
    decaying: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Skg:
    """Observations of term pairs by dream tick; immutable, each dream makes a new one."""

    tick: int = 0
    pairs: Mapping[Pair, tuple[Observation, ...]] = field(default_factory=dict)

    def states(self) -> list[PairState]:
        return [PairState(first, second, history) for (first, second), history in self.pairs.items()]

    def emerging(self, limit: int = REPORTED) -> list[PairState]:
        """Pairs with a positive bracket, the largest first."""
        return self._moving(1)[:limit]

    def decaying(self, limit: int = REPORTED) -> list[PairState]:
        """Pairs with a negative bracket, the most negative first."""
        return self._moving(-1)[:limit]

    def _moving(self, sign: int) -> list[PairState]:
        moving = [
            (bracket, state)
            for state in self.states()
            if (bracket := state.motion.weber_bracket) is not None and bracket * sign > 0
        ]
        moving.sort(key=lambda pair: (-abs(pair[0]), pair[1].term_a, pair[1].term_b))
        return [state for _, state in moving]

    def observed(self, members: Mapping[str, Set[int]]) -> tuple[Skg, SkgReport]:
        """One dream tick on: the overlaps of every pair of the given terms are recorded."""
        tick = self.tick + 1
        if not members:
            return Skg(tick, self.pairs), SkgReport()
        pairs = dict(self.pairs)
        sampled = 0
        for first, second in combinations(sorted(members), 2):
            sampled += 1
            overlap = jaccard(members[first], members[second])
            history = (*pairs.get((first, second), ()), (tick, overlap))
            pairs[first, second] = history[-RING:]
        kept = {pair: history for pair, history in pairs.items() if tick - history[-1][0] <= FORGOTTEN_AFTER}
        new = Skg(tick, kept)
        return new, SkgReport(
            sampled,
            len(kept),
            tuple((state.term_a, state.term_b) for state in new.emerging()),
            tuple((state.term_a, state.term_b) for state in new.decaying()),
        )

    def to_json(self) -> str:
        rows = [[first, second, history] for (first, second), history in self.pairs.items()]
        return json.dumps({"tick": self.tick, "pairs": rows}, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | None) -> Skg:
        if text is None:
            return Skg()
        data = json.loads(text)
        return Skg(
            int(data["tick"]),
            {
                (str(first), str(second)): tuple((int(tick), float(value)) for tick, value in history)
                for first, second, history in data["pairs"]
            },
        )


def motion_of(history: Sequence[Observation]) -> Motion:
    """Motion from the last two observations, and the bracket from the last three."""
    if len(history) < 2:
        return Motion()
    (t1, s1), (t2, s2) = history[-2:]
    velocity = (s2 - s1) / (t2 - t1)
    if len(history) < 3:
        return Motion(velocity)
    t0, s0 = history[-3]
    acceleration = (velocity - (s1 - s0) / (t1 - t0)) / ((t2 - t0) / 2)
    return Motion(velocity, acceleration, velocity**2 + s2 * acceleration)


def jaccard(first: Set[int], second: Set[int]) -> float:
    """Shared part of two sets; 0 for two empty ones."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0
