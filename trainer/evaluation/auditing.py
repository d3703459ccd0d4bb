"""What is asked of two instances of a candidate beside the score: few questions, more where one fails.

Few questions screen every candidate, about rows from all parts of what was scored, a sixteenth of the work
of scoring and a little more. The first instance is asked some rows that it answered at the very beginning.
Then it is ended, so that it can tell the second one nothing. That one, fresh, is asked rows in another order
with the ends of most replaced: state, neighbours, places and the future all show as a changed loss of what
stays. It then answers some of the rows cut short and some of them alone. Where the screen finds something,
the audits of audits.py say what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trainer.evaluation.audits import (
    ON_CPU,
    Ask,
    AskInTurn,
    Tokens,
    Tolerances,
    audit_instance,
    choose_cuts,
    compare,
    everyone_moves,
)
from trainer.evaluation.scoring import Floats, Scores, token_nats
from trainer.experiment import Audit, Finding

AUDIT_ROWS = 4
FEW_ROWS = 2  # of one alone libraries take other kernels, which move honest bfloat16 by more than is allowed
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


@dataclass(frozen=True)
class FirstAudits:
    """What the first instance was asked: the screen, and where that failed a question for each property."""

    screen: list[Audit]
    named: list[Audit]

    @property
    def is_suspicious(self) -> bool:
        return not _all_passed([*self.screen, *self.named])


def audit_first(
    first: Ask, scored: Scored, random: np.random.Generator, allowed: Tolerances = ON_CPU
) -> FirstAudits:
    """Whether the instance that was scored, batch after batch, still answers its first rows as it did. It is
    asked no more once the second one is asked."""
    if _is_small(scored):
        return FirstAudits([], _name_first(first, scored, allowed))
    early = random.permutation(min(scored.batch, len(scored.rows)))[:FEW_ROWS]
    again = token_nats(first(scored.rows[early, :-1]), scored.rows[early, 1:])
    screen = [
        _finite(compare("fewer-again", Finding.STATEFUL, scored.nats[early], again, allowed.other_shape))
    ]
    return FirstAudits(screen, [] if _all_passed(screen) else _name_first(first, scored, allowed))


def join_audits(first: FirstAudits, second: list[Audit]) -> list[Audit]:
    """All audits; what the screen of the first instance found is left out where a question for a property
    says what it is."""
    explained = first.is_suspicious and not _all_passed([*first.named, *second])
    return [*second, *([] if explained else first.screen), *first.named]


def audit_second(
    second: Ask,
    in_turn: AskInTurn,
    scored: Scored,
    random: np.random.Generator,
    allowed: Tolerances = ON_CPU,
    *,
    suspicious: bool = False,
) -> list[Audit]:
    """Whether a fresh instance, asked by `second` or `in_turn`, answers as the first one did, what may not
    matter being changed. Each property is asked for where the screen finds something, or the first instance
    was suspicious."""
    if _is_small(scored):
        return _name_second(second, scored, random, allowed)
    screen = screen_second(in_turn, scored, random, allowed)
    if _all_passed(screen) and not suspicious:
        return screen
    named = _name_second(second, scored, random, allowed)
    return named if not _all_passed(named) else [*screen, *named]


@dataclass(frozen=True)
class Changed:
    """A batch of scored rows that is asked in another order, the ends of most replaced by other rows'. rows
    [B, T + 1] and nats [B, T] as they were scored; kept [B, T]: what stays; cuts [B]: its last positions;
    unchanged [B]: rows left as they were; order [B]: asked[i] is made from rows[order[i]]."""

    rows: Tokens
    nats: Floats
    kept: npt.NDArray[np.bool_]
    cuts: npt.NDArray[np.int64]
    unchanged: npt.NDArray[np.bool_]
    order: npt.NDArray[np.int64]
    asked: Tokens

    def found(self, logits: Scores) -> Floats:
        """Losses [B, T] of the targets that were scored: what is kept must have the loss that it had."""
        found = np.empty_like(self.nats)
        found[self.order] = token_nats(logits, self.rows[self.order, 1:])
        return found


def change(scored: Scored, random: np.random.Generator) -> Changed:
    """A batch of rows from all parts of what was scored."""
    chosen = _spread_rows(scored, random)
    rows, nats = scored.rows[chosen], scored.nats[chosen]
    count, length = nats.shape
    inputs = rows[:, :-1]
    others = _other_rows(scored, chosen, random)
    cuts = choose_cuts(inputs, others, 0, random, nats)
    kept = np.arange(length)[None, :] <= cuts[:, None]
    unchanged = random.permutation(count) < max(1, count // 4)
    kept[unchanged] = True
    order = everyone_moves(count, random)
    return Changed(rows, nats, kept, cuts, unchanged, order, np.where(kept, inputs, others)[order])


def screen_second(
    in_turn: AskInTurn, scored: Scored, random: np.random.Generator, allowed: Tolerances = ON_CPU
) -> list[Audit]:
    """The questions that every second instance is asked. Their findings are the likeliest ones only."""
    batches = [change(scored, random) for _ in range(screened_batches(scored))]
    rows, nats = batches[-1].rows, batches[-1].nats
    early, alone = (random.permutation(len(rows))[:FEW_ROWS] for _ in range(2))
    length = nats.shape[1]
    end = int(random.integers(length // 4, max(length // 4 + 1, length * 3 // 4)))
    answers = in_turn([*(batch.asked for batch in batches), rows[early, :end], rows[alone, :-1]])
    fresh, cut, causality = [], [], []
    for batch, logits in zip(batches, answers, strict=False):
        found = batch.found(logits)
        unchanged = batch.unchanged
        fresh.append((batch.nats[unchanged], found[unchanged]))
        cut.append(_at_cuts(batch.nats, found, batch.cuts, ~unchanged))
        causality.append(_kept(batch.nats, found, batch.kept, ~unchanged))
    prefix = token_nats(next(answers), rows[early, 1 : end + 1])
    fewer = token_nats(next(answers), rows[alone, 1:])
    audits = [
        compare("fresh", Finding.STATEFUL, *_joined(fresh), allowed.exact),
        compare("cut", Finding.NON_CAUSAL, *_joined(cut), allowed.cut),
        compare("causality", Finding.NON_CAUSAL, *_joined(causality), allowed.exact),
        compare("prefix", Finding.PREFIX_INCONSISTENT, nats[early, :end], prefix, allowed.other_shape),
        compare("fewer-rows", Finding.ORDER_DEPENDENT, nats[alone], fewer, allowed.other_shape),
    ]
    return [_finite(audit) for audit in audits]


def screened_batches(scored: Scored) -> int:
    """How many batches of changed rows are asked: one sixteenth of all, and at least one."""
    return max(1, len(scored.rows) // (LEAST_BATCHES * scored.batch))


def _name_first(first: Ask, scored: Scored, allowed: Tolerances) -> list[Audit]:
    """One question for each property, so that what fails tells which is missing; _name_second likewise."""
    size, nats, count = scored.batch, scored.nats, min(AUDIT_ROWS, len(scored.rows))
    repeated = _asked_again(first, scored, 0, size)
    few = _asked_again(first, scored, 0, count)
    audits = [
        compare("again", Finding.STATEFUL, nats[:size], repeated, allowed.exact),
        compare("fewer-again", Finding.ORDER_DEPENDENT, nats[:count], few, allowed.other_shape),
    ]
    return [_finite(audit) for audit in audits]


def _name_second(
    second: Ask, scored: Scored, random: np.random.Generator, allowed: Tolerances
) -> list[Audit]:
    size, nats = scored.batch, scored.nats
    start = int(random.integers(max(1, len(scored.rows) // size))) * size
    again = _asked_again(second, scored, start, size)
    audits = [compare("fresh", Finding.STATEFUL, nats[start : start + size], again, allowed.exact)]
    count = min(AUDIT_ROWS, len(scored.rows))
    chosen = random.permutation(len(scored.rows))
    rest = chosen[count:] if len(chosen) > count else np.roll(chosen, 1)
    rows, others = scored.rows[chosen[:count], :-1], scored.rows[np.resize(rest, count), :-1]
    audits += audit_instance(second, rows, others, random, allowed)
    return [_finite(audit) for audit in audits]


def _asked_again(ask: Ask, scored: Scored, begin: int, count: int) -> Floats:
    batch = scored.rows[begin : begin + count]
    return token_nats(ask(batch[:, :-1]), batch[:, 1:])


def _is_small(scored: Scored) -> bool:
    return min(scored.batch, len(scored.rows)) < FEW_ROWS


def _all_passed(audits: Iterable[Audit]) -> bool:
    return all(audit.passed for audit in audits)


def _joined(pairs: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.concatenate([one for one, _ in pairs]), np.concatenate([other for _, other in pairs])


def _spread_rows(scored: Scored, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """As many rows as a batch has, one of each equal part of all: what cheats in some calls only, or in some
    rows only, finds no part that is never asked again. Every second one is the row of least loss in its
    part, since what cheats in a few rows has to gain much by each."""
    edges = np.linspace(0, len(scored.rows), min(scored.batch, len(scored.rows)) + 1).astype(np.int64)
    losses = scored.nats.mean(axis=1)
    offset = int(random.integers(2))
    chosen = [
        begin + int(losses[begin:end].argmin()) if (part + offset) % 2 else int(random.integers(begin, end))
        for part, (begin, end) in enumerate(pairwise(edges.tolist()))
    ]
    return np.array(chosen, dtype=np.int64)


def _other_rows(scored: Scored, chosen: npt.NDArray[np.int64], random: np.random.Generator) -> Tokens:
    """Inputs of as many rows that were not chosen, or of the neighbours where there are none."""
    numbers = np.arange(len(scored.rows))
    outside = np.setdiff1d(numbers, chosen)
    taken = random.permutation(outside) if len(outside) else np.roll(numbers, 1)
    return scored.rows[np.resize(taken, len(chosen)), :-1]


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
