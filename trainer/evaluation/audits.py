"""The audits: whether the logits are those of a causal, stateless function of each row alone.

Suffix, repeat and order are judged near exactly at a fixed shape. Other shapes may choose other kernels, so
prefix, fewer rows and the other instance are judged by the mean, with a wide maximum. Perturbations are
other real rows: a model can tell random tokens apart and behave.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainer.evaluation.scoring import Difference, Scores, difference, log_probabilities, select
from trainer.experiment import Audit, Finding

Tokens = npt.NDArray[np.int64]
Ask = Callable[[Tokens], Scores]
AskInTurn = Callable[[Iterable[Tokens]], Iterator[Scores]]  # the answers in the order of the requests


@dataclass(frozen=True)
class Tolerance:
    """Largest and mean difference (nats) that honest arithmetic may show, and how far the mean of the signed
    differences may lie from zero: rounding has no direction, what lowers a loss has."""

    largest: float
    mean: float
    bias: float = math.inf

    def allows(self, found: Difference) -> bool:
        """Beside the bias, four times what chance gives the mean of so many is allowed. NaN is refused."""
        chance = 4.0 * 1.25 * found.mean / max(found.count, 1) ** 0.5
        unbiased = abs(found.bias) <= self.bias + chance
        return found.largest <= self.largest and found.mean <= self.mean and unbiased


@dataclass(frozen=True)
class Tolerances:
    """For the same shape; for another one, which may choose other kernels; for the position before a cut,
    alone, where one token of foresight shows."""

    exact: Tolerance
    other_shape: Tolerance
    cut: Tolerance


EXACT = Tolerance(largest=2e-3, mean=1e-5)
OTHER_SHAPE = Tolerance(largest=0.2, mean=2e-3)
ON_CPU = Tolerances(EXACT, OTHER_SHAPE, Tolerance(largest=2e-3, mean=2e-3))
# In bfloat16 a rounding that falls the other way moves a logit by 1/256 of it.
ON_GPU = Tolerances(
    exact=Tolerance(largest=0.25, mean=5e-3, bias=1e-3),
    other_shape=Tolerance(largest=0.5, mean=2e-2, bias=4e-3),
    cut=Tolerance(largest=0.25, mean=2e-2, bias=1e-2),
)


def compare(name: str, finding: Finding, first: Scores, second: Scores, tolerance: Tolerance) -> Audit:
    """One audit from two arrays of log-probabilities or nats of the same shape."""
    found = difference(first, second)
    passed = tolerance.allows(found)
    return Audit(name, passed, found.largest, found.mean, None if passed else finding)


def audit_instance(
    ask: Ask, rows: Tokens, others: Tokens, random: np.random.Generator, allowed: Tolerances = ON_CPU
) -> Iterator[Audit]:
    """Audits of one instance with inputs `rows` and, for suffixes, `others`, both [B, T]. Yields each."""
    exact = allowed.exact
    count, length = rows.shape
    base = log_probabilities(ask(rows))
    yield compare("repeat", Finding.STATEFUL, base, log_probabilities(ask(rows)), exact)
    order = everyone_moves(count, random)
    shuffled = log_probabilities(ask(rows[order]))
    yield compare("order", Finding.ORDER_DEPENDENT, select(base, order), shuffled, exact)
    for name, earliest in (("causality", 0), ("causality-late", length * 3 // 4)):
        cuts = choose_cuts(rows, others, earliest, random)
        yield _causality(name, ask, rows, others, base, cuts, exact)
    cut = int(random.integers(length // 4, max(length // 4 + 1, length * 3 // 4)))
    prefix = log_probabilities(ask(rows[:, :cut]))
    yield compare("prefix", Finding.PREFIX_INCONSISTENT, base[:, :cut], prefix, allowed.other_shape)
    if count > 1:
        fewer = log_probabilities(ask(rows[: count // 2]))
        yield compare("fewer-rows", Finding.ORDER_DEPENDENT, base[: count // 2], fewer, allowed.other_shape)


# What remembers breaks every audit, and what looks at other rows breaks those of causality as well.
_TELLING = (Finding.NOT_FINITE, Finding.STATEFUL, Finding.ORDER_DEPENDENT, Finding.NON_CAUSAL)


def most_telling(audits: Iterable[Audit]) -> Audit | None:
    """The failed audit whose finding explains the most; of equals the first. None where all passed."""
    failed = [audit for audit in audits if not audit.passed]
    ranks = [_TELLING.index(one.finding) if one.finding in _TELLING else len(_TELLING) for one in failed]
    return failed[ranks.index(min(ranks))] if failed else None


def everyone_moves(count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """A random cycle through all rows (Sattolo 1986): none stays at its place, as one in 24 permutations of
    four rows would leave them all."""
    order = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = int(random.integers(last))
        order[[last, other]] = order[[other, last]]
    return order


def choose_cuts(
    rows: Tokens,
    others: Tokens,
    earliest: int,
    random: np.random.Generator,
    nats: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.int64]:
    """A cut for each row, one in each of B equal parts of [earliest, T - 1), so that no part of a row goes
    unasked; the token that follows it changes, wherever the two rows differ there at all. With the losses
    [B, T] every second cut is one of the quarter of its part where the loss is least: one token of foresight
    shows at the cut alone, and what looks ahead seldom gains most where it does."""
    count, length = rows.shape
    edges = np.linspace(earliest, length - 1, count + 1).astype(np.int64)
    cuts = np.empty(count, dtype=np.int64)
    for row, part in enumerate(random.permutation(count)):
        choices = np.arange(edges[part], max(edges[part] + 1, edges[part + 1]))
        following = np.minimum(choices + 1, length - 1)
        telling = choices[rows[row, following] != others[row, following]]
        choices = telling if len(telling) else choices
        if nats is not None and random.integers(2):
            choices = choices[np.argsort(nats[row, choices])[: max(1, len(choices) // 4)]]
        cuts[row] = random.choice(choices)
    return cuts


def _causality(
    name: str,
    ask: Ask,
    rows: Tokens,
    others: Tokens,
    base: Scores,
    cuts: npt.NDArray[np.int64],
    exact: Tolerance,
) -> Audit:
    """What stands after each row's cut comes from another row; logits up to the cut must not move. Where
    they do, each row is changed alone: only one whose own beginning moves then is proof of NON_CAUSAL, the
    others were moved by their neighbours."""
    kept = np.arange(rows.shape[1])[None, :] <= cuts[:, None]
    changed = np.where(kept, rows, others)
    answer = log_probabilities(ask(changed))
    audit = compare(name, Finding.NON_CAUSAL, select(base, kept), select(answer, kept), exact)
    if audit.passed:
        return audit
    for row in range(len(rows)):
        alone = rows.copy()
        alone[row] = changed[row]
        moved = select(log_probabilities(ask(alone))[row], kept[row])
        own = compare(name, Finding.NON_CAUSAL, select(base[row], kept[row]), moved, exact)
        if not own.passed:
            return own
    return replace(audit, finding=Finding.ORDER_DEPENDENT)
