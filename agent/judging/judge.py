"""The verdict on a proposal: a pure function of paired measurements, never of anybody's opinion.

After each pair (candidate and incumbent on one seed of the session's pack) the judge is asked again and
answers KEEP, EQUIVALENT, DISCARD, or RETEST for one more pair. docs/judge.md has the reasoning, the
measured error rates and which seed the next pair takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agent.judging.evidence import Array, log_evidence
from agent.judging.noise import LEARNING_DEGREES, NoiseEstimate
from agent.verdict import Judgement, Pair, Verdict


@dataclass(frozen=True)
class JudgePolicy:
    """How sure is sure.

    false_keep_rate: bound on the chance that a session, however long, keeps anything that is no better.
    planned: proposals that share planned_share of it equally; all later ones share the rest.
    design_effect: improvement, in sigmas of the paired difference, that the test is tuned to find.
    futility: evidence ratio at which a proposal is given up. max_pairs: pairs at most for one proposal.
    margin: how much worse, in typical sigmas, simpler code may be (half as much after each EQUIVALENT, so
    that all of them together lose less than two margins). equivalent_rate: error of one such verdict.
    learning_degrees: until pairs have given that many degrees of freedom, sigma is only a bound and a
    proposal gets learning_pairs pairs unless it is plainly worse. own_share: weight of the evidence that
    trusts nothing but the proposal's own pairs; learning_own_share: the same while learning, when it is
    tuned to effects learning_effect times as large, which few pairs can show.
    alike_degrees: degrees of the typical noise from which on futility holds as it stands (see `futile`).
    replicates: runs of the baseline at the start.
    """

    false_keep_rate: float = 0.05
    planned: int = 100
    planned_share: float = 0.8
    design_effect: float = 2.2
    futility: float = 0.25
    max_pairs: int = 16
    margin: float = 1.0
    equivalent_rate: float = 0.05
    learning_degrees: float = LEARNING_DEGREES
    learning_pairs: int = 3
    own_share: float = 0.2
    learning_own_share: float = 0.5
    learning_effect: float = 2.5
    replicates: int = 5
    alike_degrees: float = 16.0

    def futile(self, degrees: npt.ArrayLike, learning: npt.ArrayLike) -> Array:
        """Log evidence at which a proposal is given up.

        The less alike proposals are in noise (the fewer degrees the typical noise is worth), the less the
        first pairs say of a quiet one: it is given up later, by the root of the degrees that are missing.
        """
        share = np.clip(np.asarray(degrees, dtype=np.float64) / self.alike_degrees, 1e-3, 1.0)
        result: Array = math.log(self.futility) + np.where(learning, 0.0, np.log(share) / 2)
        return result

    def level(self, number: int) -> float:
        """Chance of a false keep granted to proposal `number` (from 1).

        The levels of all proposals for ever add up to false_keep_rate: no horizon is needed.
        """
        if number < 1:
            raise ValueError(f"proposals count from 1, not {number}")
        if number <= self.planned:
            return self.false_keep_rate * self.planned_share / self.planned
        late = number - self.planned
        rest = self.false_keep_rate * (1 - self.planned_share)
        return rest * self.planned / ((self.planned + late - 1) * (self.planned + late))


@dataclass(frozen=True)
class Observed:
    """What the pairs of a proposal show and the noise that they stand in; of many proposals with as many
    pairs each field but count is an array.

    mean of the differences; spread: their squared distances from it, summed; sigma and degrees: the typical
    noise of a difference; learning: it is still only a bound.
    """

    mean: npt.ArrayLike
    spread: npt.ArrayLike
    count: int
    sigma: npt.ArrayLike
    degrees: npt.ArrayLike
    learning: npt.ArrayLike

    def moderate(self) -> tuple[Array, Array]:
        """Sigma for this proposal and its degrees: typical noise and the proposal's own spread, by weight."""
        weight = np.asarray(self.degrees, dtype=np.float64)
        total = weight + self.count - 1
        variance = (weight * np.square(self.sigma) + np.asarray(self.spread)) / np.maximum(total, 1e-9)
        return np.sqrt(variance), total


def judge(
    pairs: Sequence[Pair],
    noise: NoiseEstimate,
    policy: JudgePolicy,
    *,
    number: int = 1,
    simpler: bool = False,
    equivalents: int = 0,
) -> Judgement:
    """Judge a proposal from its pairs so far.

    noise: from agent.judging.noise.estimate_noise, with this proposal's own pairs left out. number: the
    proposal's place in the session, from 1, which sets its share of the error budget. simpler: the
    candidate's code is simpler, so an equal score is enough. equivalents: EQUIVALENT verdicts so far.
    A score that is not finite counts against the candidate. Raises ValueError without pairs.
    """
    if not pairs:
        raise ValueError("a verdict needs at least one pair")
    differences = [pair.difference for pair in pairs]
    count = len(differences)
    if not all(map(math.isfinite, differences)):
        return Judgement(Verdict.DISCARD, "a score is not finite", math.nan, math.nan, count)
    if not any(differences):
        return _identical(count, simpler)
    mean = math.fsum(differences) / count
    spread = math.fsum((value - mean) ** 2 for value in differences)
    learning = noise.pair_degrees < policy.learning_degrees
    observed = Observed(mean, spread, count, noise.sigma, noise.degrees, learning)
    sigma, degrees = observed.moderate()
    error = float(sigma) / math.sqrt(count)

    def answer(verdict: Verdict, reason: str) -> Judgement:
        return Judgement(verdict, f"{reason} ({_measured(mean, error, count)})", mean, error, count)

    if not degrees >= 1 or not sigma > 0:
        if count >= policy.max_pairs:
            return answer(Verdict.DISCARD, f"the noise is unknown after {count} pairs")
        return answer(Verdict.RETEST, "the noise is not known yet")
    pooled, own = weigh_both(observed, policy.design_effect, policy)
    better = float(np.logaddexp(pooled, own))
    needed = -math.log(policy.level(number))
    if better >= needed:
        if pooled < own:  # the proposal's own pairs show it: then their spread is the error that was used
            error = math.sqrt(spread / (count - 1) / count)
        return answer(Verdict.KEEP, f"better: evidence {_odds(better)}, {_odds(needed)} needed")
    futile = float(policy.futile(noise.degrees, learning))
    hopeless = better <= futile
    if simpler and not learning:
        margin = policy.margin * noise.sigma / 2**equivalents
        close = float(weigh(replace(observed, mean=mean - margin), margin / float(sigma), policy))
        if close >= -math.log(policy.equivalent_rate):
            return answer(Verdict.EQUIVALENT, f"simpler, and less than {margin:.2g} worse")
        hopeless = hopeless and close <= futile
    if hopeless and not (learning and count < policy.learning_pairs and mean < sigma):
        return answer(Verdict.DISCARD, f"no improvement: evidence {_odds(better)}")
    if count >= policy.max_pairs:
        return answer(Verdict.DISCARD, f"not shown within {count} pairs: evidence {_odds(better)}")
    return answer(Verdict.RETEST, f"undecided: evidence {_odds(better)}, {_odds(needed)} needed")


def weigh(observed: Observed, effect: npt.ArrayLike, policy: JudgePolicy) -> Array:
    """Log evidence that the mean difference is below zero, for an improvement of `effect` sigmas.

    An average of two e-processes, and so one itself: one judges by the moderated noise, the other (from
    three pairs on) by the proposal's own spread alone, which needs no assumption about other proposals.
    """
    pooled, own = weigh_both(observed, effect, policy)
    result: Array = np.logaddexp(pooled, own)
    return result


def weigh_both(observed: Observed, effect: npt.ArrayLike, policy: JudgePolicy) -> tuple[Array, Array]:
    """The two parts of `weigh` with their weights, as logarithms: by moderated noise, by own spread."""
    root, lead = math.sqrt(observed.count), -np.asarray(observed.mean)
    moderated, total = observed.moderate()
    pooled = log_evidence(lead * root / moderated, np.asarray(effect) * root, total)
    if observed.count < 3:
        return pooled, np.full(np.shape(pooled), -np.inf)
    learning, degrees = observed.learning, observed.count - 1.0
    own = np.sqrt(np.maximum(observed.spread, 1e-30) / degrees)
    expected = np.asarray(effect) * np.where(learning, policy.learning_effect, 1.0) * root
    alone = log_evidence(lead * root / own, expected, np.full(np.shape(own), degrees))
    share = np.where(learning, policy.learning_own_share, policy.own_share)
    return np.log1p(-share) + pooled, np.log(share) + alone


def _identical(count: int, simpler: bool) -> Judgement:
    """Bit-equal scores: the change has no effect on training. Two pairs rule out a coincidence."""
    if not simpler:
        return Judgement(Verdict.DISCARD, "the score is exactly the incumbent's: no effect", 0.0, 0.0, count)
    if count < 2:
        return Judgement(Verdict.RETEST, "simpler, and the score is exactly the incumbent's", 0.0, 0.0, count)
    return Judgement(Verdict.EQUIVALENT, f"simpler, and exactly equal in {count} pairs", 0.0, 0.0, count)


def _measured(mean: float, error: float, count: int) -> str:
    return f"{mean:+.5f} ± {error:.5f} bits per byte over {count} pair{'s' if count > 1 else ''}"


def _odds(log_ratio: float) -> str:
    if abs(log_ratio) > math.log(1e6):
        return "over a million to 1" if log_ratio > 0 else "1 to over a million"
    ratio = math.exp(abs(log_ratio))
    shown = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
    return f"{shown} to 1" if log_ratio >= 0 else f"1 to {shown}"
