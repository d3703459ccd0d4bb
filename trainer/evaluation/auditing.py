"""What is asked of two instances of a candidate beside the score: few questions, more where one fails.

Four questions screen every candidate, about a batch of the scored ones among the late half, one twelfth of
the work of scoring or less. The second instance, fresh, is asked the batch in another order with the ends of
most of its rows replaced: state, neighbours, places and the future all show as a changed loss of what stays.
It then answers some of the rows cut short and some of them alone, and the first instance some that it has
answered at the very beginning. Where the screen finds something, the audits of audits.py say what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.evaluation.audits import (
    ON_CPU,
    Ask,
    Tokens,
    Tolerances,
    audit_instance,
    choose_cuts,
    compare,
    everyone_moves,
)
from trainer.evaluation.scoring import Floats, token_nats
from trainer.experiment import Audit, Finding

AUDIT_ROWS = 4
FEW_ROWS = 2
LEAST_BATCHES = 16  # a batch is at most this part of the rows, which bounds the cost of asking one again


def audited_batch_rows(wanted: int, rows: int) -> int:
    """Rows of a batch: as wanted, but few enough that asking one again costs little of all."""
    return min(wanted, max(AUDIT_ROWS, rows // LEAST_BATCHES))


@dataclass(frozen=True)
class Scored:
    """What was scored: rows [N, T + 1], the loss of each target in nats [N, T], rows of a batch."""

    rows: Tokens
    nats: Floats
    batch: int


def audit_candidate(
    first: Ask, second: Ask, scored: Scored, random: np.random.Generator, allowed: Tolerances = ON_CPU
) -> list[Audit]:
    """All audits of a candidate whose first instance answered what was scored, batch after batch."""
    if min(scored.batch, len(scored.rows)) < FEW_ROWS:
        return named_audits(first, second, scored, random, allowed)
    screen = screen_candidate(first, second, scored, random, allowed)
    if all(audit.passed for audit in screen):
        return screen
    named = named_audits(first, second, scored, random, allowed)
    return named if any(not audit.passed for audit in named) else [*screen, *named]


def screen_candidate(
    first: Ask, second: Ask, scored: Scored, random: np.random.Generator, allowed: Tolerances = ON_CPU
) -> list[Audit]:
    """The four questions. Their findings are the likeliest ones only."""
    start = _late_batch(scored, random)
    rows = scored.rows[start : start + scored.batch]
    nats = scored.nats[start : start + scored.batch]
    count, length = nats.shape
    inputs = rows[:, :-1]
    others = _other_rows(scored, start, count, random)
    cuts = choose_cuts(inputs, others, 0, random)
    kept = np.arange(length)[None, :] <= cuts[:, None]
    unchanged = random.permutation(count) < max(1, count // 4)
    kept[unchanged] = True
    order = everyone_moves(count, random)
    asked = np.where(kept, inputs, others)[order]
    # Targets of the scored rows: what is kept must give them the loss that they had.
    found = np.empty_like(nats)
    found[order] = token_nats(second(asked), rows[order, 1:])
    audits = [
        compare("fresh", Finding.STATEFUL, nats[unchanged], found[unchanged], allowed.exact),
        compare("cut", Finding.NON_CAUSAL, *_at_cuts(nats, found, cuts, ~unchanged), allowed.cut),
        compare("causality", Finding.NON_CAUSAL, *_kept(nats, found, kept, ~unchanged), allowed.exact),
    ]
    few = random.permutation(count)[:FEW_ROWS]
    cut = int(random.integers(length // 4, max(length // 4 + 1, length * 3 // 4)))
    prefix = token_nats(second(inputs[few, :cut]), rows[few, 1 : cut + 1])
    audits.append(
        compare("prefix", Finding.PREFIX_INCONSISTENT, nats[few, :cut], prefix, allowed.other_shape)
    )
    few = random.permutation(count)[:FEW_ROWS]
    alone = token_nats(second(inputs[few]), rows[few, 1:])
    audits.append(compare("fewer-rows", Finding.ORDER_DEPENDENT, nats[few], alone, allowed.other_shape))
    early = random.permutation(min(scored.batch, len(scored.rows)))[:FEW_ROWS]
    again = token_nats(first(scored.rows[early, :-1]), scored.rows[early, 1:])
    audits.append(compare("fewer-again", Finding.STATEFUL, scored.nats[early], again, allowed.other_shape))
    return [_finite(audit) for audit in audits]


def named_audits(
    first: Ask, second: Ask, scored: Scored, random: np.random.Generator, allowed: Tolerances = ON_CPU
) -> list[Audit]:
    """One question for each property, so that what fails tells which is missing."""
    size, nats = scored.batch, scored.nats

    def asked_again(ask: Ask, begin: int, count: int) -> Floats:
        batch = scored.rows[begin : begin + count]
        return token_nats(ask(batch[:, :-1]), batch[:, 1:])

    start = _late_batch(scored, random)
    again = asked_again(second, start, size)
    audits = [compare("fresh", Finding.STATEFUL, nats[start : start + size], again, allowed.exact)]
    count = min(AUDIT_ROWS, len(scored.rows))
    chosen = random.permutation(len(scored.rows))
    rest = chosen[count:] if len(chosen) > count else np.roll(chosen, 1)
    rows, others = scored.rows[chosen[:count], :-1], scored.rows[np.resize(rest, count), :-1]
    audits += audit_instance(second, rows, others, random, allowed)
    repeated = asked_again(first, 0, size)
    audits.append(compare("again", Finding.STATEFUL, nats[:size], repeated, allowed.exact))
    few = asked_again(first, 0, count)
    audits.append(compare("fewer-again", Finding.ORDER_DEPENDENT, nats[:count], few, allowed.other_shape))
    return [_finite(audit) for audit in audits]


def _late_batch(scored: Scored, random: np.random.Generator) -> int:
    """Where one of the late half of the batches begins; a whole one, if any is."""
    whole = max(1, len(scored.rows) // scored.batch)
    return int(random.integers(whole // 2, whole)) * scored.batch


def _other_rows(scored: Scored, start: int, count: int, random: np.random.Generator) -> Tokens:
    """Inputs of as many rows that stand outside the batch, or of its neighbours where there are none."""
    numbers = np.arange(len(scored.rows))
    outside = numbers[(numbers < start) | (numbers >= start + count)]
    chosen = random.permutation(outside) if len(outside) else np.roll(numbers, 1)
    return scored.rows[np.resize(chosen, count), :-1]


def _kept(
    nats: Floats, found: Floats, kept: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    positions = kept & changed[:, None]
    return nats[positions], found[positions]


def _at_cuts(
    nats: Floats, found: Floats, cuts: npt.NDArray[np.int64], changed: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    rows = np.nonzero(changed)[0]
    return nats[rows, cuts[rows]], found[rows, cuts[rows]]


def _finite(audit: Audit) -> Audit:
    if audit.largest_difference != audit.largest_difference:
        return Audit(audit.name, False, finding=Finding.NOT_FINITE)
    return audit
