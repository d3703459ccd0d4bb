"""Made-up labs with a known truth, for measuring rules of judgement: many sessions side by side.

A score is incumbent's level + effect + share of the seed + share of the run. The unit is the standard
deviation of a paired difference between two runs of usual noise, so each run's own share has variance 1/2.
Its shape is a name of SHAPES: normal, or one of the ways in which real training is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def _normal(random: np.random.Generator, size: int) -> Floats:
    return random.normal(size=size)


def _student(random: np.random.Generator, size: int) -> Floats:
    return np.asarray(random.standard_t(3, size=size) / np.sqrt(3))


def _contaminated(random: np.random.Generator, size: int) -> Floats:
    wide = np.where(random.random(size) < 0.05, 5.0, 1.0)
    return np.asarray(random.normal(size=size) * wide / np.sqrt(0.95 + 0.05 * 25))


def _setbacks(random: np.random.Generator, size: int) -> Floats:
    fallen = np.where(random.random(size) < 0.05, random.exponential(4.0, size=size), 0.0)
    return np.asarray((random.normal(size=size) + fallen) / np.sqrt(1 + 0.05 * 32 - 0.2**2))


# Draws of unit variance. student3: Student's t with 3 degrees of freedom. contaminated: 5 % of the runs are
# five times as noisy. setbacks: 5 % of the runs are worse, by 4 deviations on average. drift: normal, and all
# scores fall by one sigma of a difference per 100 proposals, so later runs look better than earlier ones.
SHAPES: Mapping[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": _normal,
    "student3": _student,
    "contaminated": _contaminated,
    "setbacks": _setbacks,
    "drift": _normal,
}
DRIFT = 0.01


@dataclass(frozen=True)
class World:
    """What is true in the simulated labs.

    better_share: share of proposals that are truly better, by `effect` standard deviations of their
    paired difference; the others change nothing. seed_share: correlation of two runs on one seed.
    noise_spread: standard deviation of the logarithm of a proposal's own noise (0: all alike). noise: a name
    of SHAPES.
    """

    sessions: int = 1000
    proposals: int = 100
    better_share: float = 0.0
    effect: float = 2.0
    seed_share: float = 0.9
    noise_spread: float = 0.0
    noise: str = "normal"

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
        self._shape = SHAPES[world.noise]
        self._drifted = 0.0
        self.level = np.zeros(world.sessions)
        self.own = np.full(world.sessions, np.sqrt(0.5))
        self.better = random.random((world.sessions, world.proposals)) < world.better_share

    def seed_effects(self, rows: int, columns: int) -> Floats:
        return self._random.normal(size=(rows, columns)) * self.world.seed_deviation

    def incumbent_scores(self, rows: Integers, seed_effects: Floats) -> Floats:
        return self._measured(self.level[rows], self.own[rows], seed_effects)

    def propose(self, number: int) -> tuple[Floats, Floats]:
        """Level and own noise of the next candidates, each [sessions]; number counts from 0."""
        self._drifted = -DRIFT * (number + 1) if self.world.noise == "drift" else 0.0
        own = np.sqrt(0.5) * np.exp(self._random.normal(size=self.world.sessions) * self.world.noise_spread)
        effect = self.world.effect * np.sqrt(own**2 + self.own**2)
        return self.level - np.where(self.better[:, number], effect, 0.0), own

    def candidate_scores(self, level: Floats, own: Floats, seed_effects: Floats) -> Floats:
        return self._measured(level, own, seed_effects)

    def adopt(self, rows: Integers, level: Floats, own: Floats) -> None:
        self.level[rows], self.own[rows] = level[rows], own[rows]

    def _measured(self, level: Floats, own: Floats, seed_effects: Floats) -> Floats:
        noise = self._shape(self._random, len(level)) * own
        return np.asarray(level + self._drifted + seed_effects + noise)
