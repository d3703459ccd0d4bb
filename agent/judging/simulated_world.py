"""Made-up labs with a known truth, for measuring rules of judgement: many sessions side by side.

A score is incumbent's level + effect + share of the seed + share of the run. The unit is the standard
deviation of a paired difference between two runs of usual noise, so each run's own share has variance 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class World:
    """What is true in the simulated labs.

    better_share: share of proposals that are truly better, by `effect` standard deviations of their
    paired difference; the others change nothing. seed_share: correlation of two runs on one seed.
    noise_spread: standard deviation of the logarithm of a proposal's own noise (0: all alike).
    """

    sessions: int = 1000
    proposals: int = 100
    better_share: float = 0.0
    effect: float = 2.0
    seed_share: float = 0.9
    noise_spread: float = 0.0

    @property
    def seed_deviation(self) -> float:
        return float(np.sqrt(0.5 * self.seed_share / (1 - self.seed_share)))


@dataclass
class Outcome:
    """What a rule did, arrays [sessions, proposals]; startup: runs before the first proposal, per session."""

    better: Flags
    kept: Flags
    candidate_runs: Integers
    incumbent_runs: Integers
    startup: int

    @property
    def runs_per_proposal(self) -> float:
        return float(self.candidate_runs.mean() + self.incumbent_runs.mean())

    @property
    def false_keep_rate(self) -> float:
        """Share of sessions with at least one keep of a proposal that is no better."""
        return float((self.kept & ~self.better).any(axis=1).mean())

    @property
    def power(self) -> float:
        """Share of the truly better proposals that were kept; NaN without any."""
        return float(self.kept[self.better].mean()) if self.better.any() else float("nan")


@dataclass
class Record:
    """Every simulated measurement and verdict, as rows of text, in the order of their making."""

    prefix: str = ""
    lines: list[str] = field(default_factory=list)

    COLUMNS = "rule,sessions,session,proposal,better,role,seed,score,verdict"

    def measurements(
        self, sessions: Integers, proposal: int, better: Flags, role: str, seeds: Integers, scores: Floats
    ) -> None:
        for i, flag, seed, score in zip(sessions, better, seeds, scores, strict=True):
            self.lines.append(f"{self.prefix}{i},{proposal},{flag:d},{role},{seed},{score:.9g},")

    def verdicts(self, proposal: int, better: Flags, words: Sequence[str]) -> None:
        for i, (flag, word) in enumerate(zip(better, words, strict=True)):
            self.lines.append(f"{self.prefix}{i},{proposal},{flag:d},verdict,,,{word}")


class Labs:
    """The state of all sessions: truth, the incumbents' noise, and the pack's seeds seen so far."""

    def __init__(self, world: World, random: np.random.Generator) -> None:
        self.world = world
        self._random = random
        self.level = np.zeros(world.sessions)
        self.own = np.full(world.sessions, np.sqrt(0.5))
        self.better = random.random((world.sessions, world.proposals)) < world.better_share

    def seed_effects(self, rows: int, columns: int) -> Floats:
        return self._random.normal(size=(rows, columns)) * self.world.seed_deviation

    def incumbent_scores(self, rows: Integers, seed_effects: Floats) -> Floats:
        noise = self._random.normal(size=len(rows)) * self.own[rows]
        return np.asarray(self.level[rows] + seed_effects + noise)

    def propose(self, number: int) -> tuple[Floats, Floats]:
        """Level and own noise of the next candidates, each [sessions]; number counts from 0."""
        own = np.sqrt(0.5) * np.exp(self._random.normal(size=self.world.sessions) * self.world.noise_spread)
        effect = self.world.effect * np.sqrt(own**2 + self.own**2)
        return self.level - np.where(self.better[:, number], effect, 0.0), own

    def candidate_scores(self, level: Floats, own: Floats, seed_effects: Floats) -> Floats:
        return np.asarray(level + seed_effects + self._random.normal(size=level.shape) * own)

    def adopt(self, rows: Integers, level: Floats, own: Floats) -> None:
        self.level[rows], self.own[rows] = level[rows], own[rows]
