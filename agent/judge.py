"""The verdict on a proposal: a pure function of paired measurements, never of anybody's opinion.

After each pair (candidate and incumbent on one seed of the session's pack) the judge is asked again and
answers KEEP, EQUIVALENT, DISCARD, or RETEST for one more pair. docs/judge.md has the reasoning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent.evidence import log_evidence
from agent.noise import NoiseEstimate
from agent.verdict import Judgement, Pair, Verdict


@dataclass(frozen=True)
class JudgePolicy:
    """How sure is sure.

    false_keep_rate: bound on the chance that a session, however long, keeps anything that is no better.
    design_effect: the improvement, in sigmas of the paired difference, that the test is tuned to find.
    futility: evidence ratio at which a proposal is given up. max_pairs: pairs at most for one proposal.
    margin: how much worse, in sigmas, simpler code may be (half as much after each EQUIVALENT, so that
    all of them together lose less than two margins). equivalent_rate: error of one such verdict.
    spread: proposals over which half of false_keep_rate is spent.
    noise_degrees: cap on the weight of the pooled noise against the proposal's own spread.
    """

    false_keep_rate: float = 0.05
    design_effect: float = 2.0
    futility: float = 0.1
    max_pairs: int = 8
    margin: float = 1.0
    equivalent_rate: float = 0.05
    spread: int = 100
    noise_degrees: float = 60.0

    def level(self, number: int) -> float:
        """Chance of a false keep granted to proposal `number` (from 1).

        The levels of all proposals for ever add up to false_keep_rate: no horizon is needed.
        """
        if number < 1:
            raise ValueError(f"proposals count from 1, not {number}")
        m = self.spread
        return self.false_keep_rate * m / ((m + number - 1) * (m + number))


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

    noise: from agent.noise.estimate_noise, with this proposal's own pairs left out. number: the
    proposal's place in the session, from 1, which sets its share of the error budget. simpler: the
    candidate's code is simpler, so an equal score is enough. equivalents: EQUIVALENT verdicts so far.
    A pair that is not finite counts against the candidate: DISCARD. Raises ValueError without pairs.
    """
    if not pairs:
        raise ValueError("a verdict needs at least one pair")
    differences = [pair.difference for pair in pairs]
    count = len(differences)
    if not all(map(math.isfinite, differences)):
        return Judgement(Verdict.DISCARD, "a score is not finite", math.nan, math.nan, count)
    mean = math.fsum(differences) / count
    if not any(differences):
        return _identical(count, simpler)
    sigma, degrees = _moderate(differences, mean, noise, policy)
    error = sigma / math.sqrt(count)

    def answer(verdict: Verdict, reason: str) -> Judgement:
        return Judgement(verdict, f"{reason} ({_measured(mean, error, count)})", mean, error, count)

    if sigma <= 0:
        return answer(Verdict.RETEST, "the noise is not known yet")
    root = math.sqrt(count)
    better = log_evidence(-mean / error, policy.design_effect * root, degrees)
    threshold = -math.log(policy.level(number))
    if better >= threshold:
        return answer(Verdict.KEEP, f"better: evidence {_power(better)} of {_power(threshold)} needed")
    hopeless = better <= math.log(policy.futility)
    if simpler:
        margin = policy.margin * sigma / 2**equivalents
        close = log_evidence((margin - mean) / error, margin / sigma * root, degrees)
        if close >= -math.log(policy.equivalent_rate):
            return answer(Verdict.EQUIVALENT, f"simpler, and less than {margin:.2g} worse")
        hopeless = hopeless and close <= math.log(policy.futility)
    if hopeless:
        return answer(Verdict.DISCARD, f"no improvement: evidence {_power(better)}")
    if count >= policy.max_pairs:
        return answer(Verdict.DISCARD, f"not shown within {count} pairs: evidence {_power(better)}")
    return answer(Verdict.RETEST, f"undecided: evidence {_power(better)} of {_power(threshold)} needed")


def _identical(count: int, simpler: bool) -> Judgement:
    """Bit-equal scores: the change has no effect on training. Two pairs rule out a coincidence."""
    if not simpler:
        return Judgement(Verdict.DISCARD, "the score is exactly the incumbent's: no effect", 0.0, 0.0, count)
    if count < 2:
        return Judgement(Verdict.RETEST, "simpler, and the score is exactly the incumbent's", 0.0, 0.0, count)
    return Judgement(Verdict.EQUIVALENT, f"simpler, and exactly equal in {count} pairs", 0.0, 0.0, count)


def _moderate(
    differences: Sequence[float], mean: float, noise: NoiseEstimate, policy: JudgePolicy
) -> tuple[float, float]:
    """Sigma and degrees for this proposal: pooled noise and its own spread, weighed by degrees of freedom.

    The cap on the pooled weight lets a candidate that is noisier than the others show it.
    """
    weight = min(noise.degrees, policy.noise_degrees)
    own = math.fsum((value - mean) ** 2 for value in differences)
    degrees = weight + len(differences) - 1
    if degrees < 1:
        return 0.0, 1.0
    return math.sqrt((weight * noise.sigma**2 + own) / degrees), degrees


def _measured(mean: float, error: float, count: int) -> str:
    return f"{mean:+.5f} ± {error:.5f} bits per byte over {count} pair{'s' if count > 1 else ''}"


def _power(log_ratio: float) -> str:
    return f"10^{log_ratio / math.log(10):+.1f}"
