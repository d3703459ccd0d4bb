"""Three rules of judgement played over simulated labs: the judge, the greedy rule, a 3-seed bootstrap."""

from __future__ import annotations

import itertools
import math

import numpy as np

from agent.judging.judge import JudgePolicy, Observed, weigh
from agent.judging.noise import BOUND_DEGREES, empty_belief, log_likelihood, summarise
from agent.judging.seed_plan import BLOCK_SIZE, FRESH_SEEDS, RENEW_AFTER
from agent.judging.simulated_world import Flags, Floats, Integers, Labs, Outcome, Record, World


def play_judge(
    world: World, random: np.random.Generator, policy: JudgePolicy, record: Record | None = None
) -> Outcome:
    """The product's rule with its seed plan: replicates first, then pairs until a verdict.

    The same formulas as agent.judging.judge and agent.judging.noise, over all sessions at once; a
    test replays recorded sessions through those two and compares verdict by verdict.
    """
    if policy.max_pairs > BLOCK_SIZE:
        raise ValueError(f"max_pairs must be at most the {BLOCK_SIZE} seeds of a block")
    labs, size = Labs(world, random), world.sessions
    everyone = np.arange(size)
    bench = _Bench(labs, policy.replicates, record)
    replicates = bench.scores[:, : policy.replicates]
    bound: Floats = np.asarray(2 * replicates.var(axis=1, ddof=1), dtype=np.float64)
    belief, pair_degrees = empty_belief(size), np.zeros(size)
    outcome = _empty(labs, startup=policy.replicates)
    for number in range(world.proposals):
        level, own = labs.propose(number)
        learning = pair_degrees < policy.learning_degrees
        ratio, degrees = summarise(belief, pair_degrees)
        sigma = np.sqrt(np.where(learning, bound, bound * ratio))
        degrees = np.where(learning, min(policy.replicates - 1.0, BOUND_DEGREES), degrees)
        needed = -math.log(policy.level(number + 1))
        scores = np.zeros((size, policy.max_pairs))
        pairs, kept, live = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=bool), everyone
        spread = np.zeros(size)
        for count in range(1, policy.max_pairs + 1):
            place = count - 1
            effects = bench.effects[live, place]
            scores[live, place] = labs.candidate_scores(level[live], own[live], effects)
            pairs[live] = count
            better = labs.better[live, number]
            if record is not None:
                seeds = bench.seeds[live, place]
                record.measurements(live, number + 1, better, "candidate", seeds, scores[live, place])
            outcome.incumbent_runs[live, number] += bench.measure(live, place, number + 1, record)
            differences = scores[live, :count] - bench.scores[live, :count]
            mean = differences.mean(axis=1)
            spread[live] = np.square(differences - mean[:, None]).sum(axis=1)
            now = learning[live]
            observed = Observed(mean, spread[live], count, sigma[live], degrees[live], now)
            evidence = weigh(observed, policy.design_effect, policy)
            spared = now & (count < policy.learning_pairs)
            spared &= mean < observed.moderate()[0]
            keep = evidence >= needed
            kept[live[keep]] = True
            live = live[~keep & ~((evidence <= policy.futile(degrees[live], now)) & ~spared)]
            if not len(live):
                break
        outcome.candidate_runs[:, number], outcome.kept[:, number] = pairs, kept
        taught = np.flatnonzero(pairs > 1)
        belief[taught] += log_likelihood(
            spread[taught], pairs[taught].astype(np.float64) - 1.0, bound[taught]
        )
        pair_degrees += pairs - 1
        if record is not None:
            record.verdicts(number + 1, labs.better[:, number], np.where(kept, "keep", "discard").tolist())
        labs.adopt(np.flatnonzero(kept), level, own)
        bench.end_proposal(kept, scores, pairs)
    return outcome


class _Bench:
    """The incumbents' runs on the seeds of their block; mirrors agent/judging/seed_plan.py."""

    def __init__(self, labs: Labs, replicates: int, record: Record | None) -> None:
        size = labs.world.sessions
        self._labs = labs
        self.effects = labs.seed_effects(size, BLOCK_SIZE)
        self.seeds: Integers = np.tile(np.arange(BLOCK_SIZE), (size, 1))
        self.scores: Floats = np.full((size, BLOCK_SIZE), np.nan)
        self._used = np.zeros(size, dtype=np.int64)
        for place in range(replicates):
            self.measure(np.arange(size), place, 0, record, role="replicate")

    def measure(
        self, rows: Integers, place: int, proposal: int, record: Record | None, role: str = "incumbent"
    ) -> Flags:
        """Runs the incumbents of `rows` on a seed where they have no run yet; says which did."""
        missing: Flags = np.isnan(self.scores[rows, place])
        new = rows[missing]
        self.scores[new, place] = self._labs.incumbent_scores(new, self.effects[new, place])
        if record is not None and len(new):
            better = self._labs.better[new, proposal - 1] if proposal else np.zeros(len(new), dtype=bool)
            record.measurements(new, proposal, better, role, self.seeds[new, place], self.scores[new, place])
        return missing

    def end_proposal(self, kept: Flags, scores: Floats, pairs: Integers) -> None:
        """A keep brings its own runs; a keep, or long use, moves the block by some fresh seeds."""
        known = np.arange(BLOCK_SIZE) < pairs[:, None]
        winners = np.full(self.scores.shape, np.nan)
        winners[:, : scores.shape[1]] = scores
        self.scores[kept] = np.where(known, winners, np.nan)[kept]
        self._used += 1
        stale = ~kept & (self._used >= RENEW_AFTER)
        self._move(np.flatnonzero(kept), FRESH_SEEDS)
        self._move(np.flatnonzero(stale), BLOCK_SIZE)

    def _move(self, rows: Integers, fresh: int) -> None:
        self._used[rows] = 0
        seeds = self.seeds[rows].max(axis=1)[:, None] + np.arange(fresh, 0, -1)
        effects, stay = self._labs.seed_effects(len(rows), fresh), BLOCK_SIZE - fresh
        self.effects[rows] = np.hstack([effects, self.effects[rows, :stay]])
        self.scores[rows] = np.hstack([np.full_like(effects, np.nan), self.scores[rows, :stay]])
        self.seeds[rows] = np.hstack([seeds, self.seeds[rows, :stay]])


def play_greedy(world: World, random: np.random.Generator, record: Record | None = None) -> Outcome:
    """Keep whatever has the lower score in one run on the one seed of the session."""
    return _play_fixed_seeds(world, random, 1, record)


def play_bootstrap(world: World, random: np.random.Generator, record: Record | None = None) -> Outcome:
    """Keep when the 95 % bootstrap interval of the mean difference over three fixed seeds lies below 0."""
    return _play_fixed_seeds(world, random, 3, record)


def _play_fixed_seeds(
    world: World, random: np.random.Generator, seeds: int, record: Record | None
) -> Outcome:
    labs, everyone = Labs(world, random), np.arange(world.sessions)
    effects = labs.seed_effects(world.sessions, seeds)
    champion = np.stack([labs.incumbent_scores(everyone, effects[:, s]) for s in range(seeds)], axis=1)
    outcome = _empty(labs, startup=seeds)
    if record is not None:
        for s in range(seeds):
            label = np.full(world.sessions, s)
            record.measurements(
                everyone, 0, np.zeros(world.sessions, dtype=bool), "replicate", label, champion[:, s]
            )
    for number in range(world.proposals):
        level, own = labs.propose(number)
        scores = np.stack([labs.candidate_scores(level, own, effects[:, s]) for s in range(seeds)], axis=1)
        kept = _clears(scores - champion)
        outcome.candidate_runs[:, number], outcome.kept[:, number] = seeds, kept
        if record is not None:
            better = labs.better[:, number]
            for s in range(seeds):
                label = np.full(world.sessions, s)
                record.measurements(everyone, number + 1, better, "candidate", label, scores[:, s])
            record.verdicts(number + 1, better, np.where(kept, "keep", "discard").tolist())
        champion[kept] = scores[kept]
        labs.adopt(np.flatnonzero(kept), level, own)
    return outcome


def _clears(differences: Floats) -> Flags:
    """Whether the upper end of the 95 % bootstrap interval of the mean is below zero, all resamples taken."""
    count = differences.shape[1]
    choices = np.array(list(itertools.product(range(count), repeat=count)))
    means = differences[:, choices].mean(axis=2)
    result: Flags = np.quantile(means, 0.975, axis=1) < 0
    return result


def _empty(labs: Labs, startup: int) -> Outcome:
    shape = labs.better.shape
    return Outcome(
        better=labs.better,
        kept=np.zeros(shape, dtype=bool),
        candidate_runs=np.zeros(shape, dtype=np.int64),
        incumbent_runs=np.zeros(shape, dtype=np.int64),
        startup=startup,
    )
