"""The audits: whether the logits are those of a causal, stateless function of each row alone.

Suffix, repeat and order are judged near exactly at a fixed shape. Other shapes may choose other kernels, so
prefix, fewer rows and the other instance are judged by the mean, with a wide maximum. Perturbations are
other real rows: a model can tell random tokens apart and behave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.evaluation.scoring import log_probabilities
from trainer.experiment import Audit, Finding

Tokens = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Ask = Callable[[Tokens], Floats]


@dataclass(frozen=True)
class Tolerance:
    """Largest and mean difference of log-probabilities (nats) that honest arithmetic may show."""

    largest: float
    mean: float

    def allows(self, largest: float, mean: float) -> bool:
        return largest <= self.largest and mean <= self.mean  # NaN is refused


EXACT = Tolerance(largest=2e-3, mean=1e-5)
EXACT_GPU = Tolerance(largest=5e-2, mean=1e-3)
OTHER_SHAPE = Tolerance(largest=0.2, mean=2e-3)


def compare(name: str, finding: Finding, first: Floats, second: Floats, tolerance: Tolerance) -> Audit:
    """One audit from two arrays of log-probabilities or nats of the same shape."""
    difference = np.abs(first - second)
    largest, mean = float(difference.max()), float(difference.mean(dtype=np.float64))
    passed = tolerance.allows(largest, mean)
    return Audit(name, passed, largest, mean, None if passed else finding)


def audit_instance(
    ask: Ask, rows: Tokens, others: Tokens, random: np.random.Generator, exact: Tolerance = EXACT
) -> Iterator[Audit]:
    """Audits of one instance with inputs `rows` and, for suffixes, `others`, both [B, T]. Yields each."""
    count, length = rows.shape
    base = log_probabilities(ask(rows))
    # What depends on earlier calls or on other rows would look non-causal as well: those come first.
    yield compare("repeat", Finding.STATEFUL, base, log_probabilities(ask(rows)), exact)
    order = random.permutation(count)
    shuffled = log_probabilities(ask(rows[order]))
    yield compare("order", Finding.ORDER_DEPENDENT, base[order], shuffled, exact)
    for name in ("causality", "causality-late"):
        yield _causality(name, ask, rows, others, base, random, exact)
    cut = int(random.integers(length // 4, max(length // 4 + 1, length * 3 // 4)))
    prefix = log_probabilities(ask(rows[:, :cut]))
    yield compare("prefix", Finding.PREFIX_INCONSISTENT, base[:, :cut], prefix, OTHER_SHAPE)
    if count > 1:
        fewer = log_probabilities(ask(rows[: count // 2]))
        yield compare("fewer-rows", Finding.ORDER_DEPENDENT, base[: count // 2], fewer, OTHER_SHAPE)


def _causality(
    name: str,
    ask: Ask,
    rows: Tokens,
    others: Tokens,
    base: Floats,
    random: np.random.Generator,
    exact: Tolerance,
) -> Audit:
    """Each row gets its own cut; what stands after it comes from another row. Logits up to the cut must
    not move."""
    count, length = rows.shape
    early, late = (0, length - 1) if name == "causality" else (length * 3 // 4, length - 1)
    cuts = random.integers(early, late, size=count)
    kept = np.arange(length)[None, :] <= cuts[:, None]
    changed = np.where(kept, rows, others)
    answer = log_probabilities(ask(changed))
    return compare(name, Finding.NON_CAUSAL, base[kept], answer[kept], exact)
