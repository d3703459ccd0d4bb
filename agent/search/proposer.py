"""Ideas without a language model, over the block read by syntax tree: an additive model, and Optuna's TPE.

A proposal changes a few hyperparameters of the incumbent and leaves the rest: those that a draw of the
model of all trials finds best, or some drawn by weight (the table's own, raised by what has helped and
lowered by what was tried in vain) with values from TPE or a local step. Every trial counts as its
improvement over the baseline, chained over the keeps (scores on different seeds do not compare, paired
differences do). The proposer keeps no state that matters: the
same seed, history and incumbent give the same proposal.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.proposer import Draft, ResearchContext, Trial
from agent.search.dimensions import (
    Dimension,
    active_dimensions,
    complete_changes,
    dimensions_of,
    model_width,
    plain_values,
)
from agent.search.hyperparameters import read_block, set_values
from agent.search.idle import idle_values, without_idle
from agent.search.model import sample_best_values
from agent.search.space import Value
from agent.verdict import Verdict
from services.errors import InvalidArgumentError

if TYPE_CHECKING:
    import optuna

_ATTEMPTS = 60
_MODEL = 0.7  # share of proposals that follow the model of all trials, once there are some
_ENOUGH = 6  # trials for that
_LOCAL = 0.7  # share of values drawn near the incumbent rather than from TPE
_STEP = 0.18  # of the unit axis, standard deviation of a local step
_FOLLOW = 0.8  # chance that a local step goes where past trials of that dimension got better
_NEAR = 0.03  # relative: closer values would differ by noise alone
_PENALTY = 0.9  # quantile of the results so far that a crash counts as


@dataclass(frozen=True)
class Experience:
    """A trial as search sees it: the full vector, what differed, and its level (negative is better)."""

    values: Mapping[str, object]
    changes: Mapping[str, object]
    level: float
    kept: bool


class SearchProposer:
    """Proposes hyperparameters from history; see the module. Implements agent.proposer.Proposer."""

    def __init__(self, seed: int) -> None:
        self.name = "search"
        self._seed = seed
        self._trials: list[Trial] = []

    async def check(self) -> None:
        """There is nothing to ask."""

    async def propose(self, context: ResearchContext) -> Draft | None:
        """The next change, or None when the block has nothing to search or all near it was tried."""
        block = read_block(context.source)
        trials = list(context.trials) or self._trials
        past = gather_experience(trials)
        dimensions = dimensions_of(block, [item.values for item in past])
        tried = [plain_values(trial.hyperparameters) for trial in trials if trial.hyperparameters]
        drawing = random.Random(f"{self._seed}/{context.next_number}")
        study = open_study(dimensions, past, drawing.getrandbits(31))
        idle = idle_values(trials, context.next_number)
        for _ in range(_ATTEMPTS):
            changes = draw_from_model(dimensions, block, past, drawing) if drawing.random() < _MODEL else {}
            changes = changes or self._draw(study, dimensions, block, past, drawing)
            changes = without_idle(changes, block, idle)
            if not changes or is_repeat(block | changes, [block, *tried]):
                continue
            try:
                source = set_values(context.source, changes)
            except InvalidArgumentError:
                continue
            return Draft(source, describe(changes, block), changes, token=f"search-{context.next_number}")
        return None

    async def learn(self, trial: Trial) -> None:
        self._trials.append(trial)

    async def close(self) -> None:
        """Nothing is held open."""

    def _draw(
        self,
        study: optuna.Study,
        dimensions: Sequence[Dimension],
        block: Mapping[str, Value],
        past: Sequence[Experience],
        drawing: random.Random,
    ) -> dict[str, Value]:
        chosen = choose_dimensions(active_dimensions(dimensions, block), past, drawing)
        changes: dict[str, Value] = {}
        sampled = _sample(study, dimensions, block, {item.name for item in chosen})
        for dimension in chosen:
            value = sampled[dimension.name]
            if not dimension.choices and drawing.random() < _LOCAL:
                step = drawing.gauss(0, _STEP)
                downhill = find_downhill(dimension, past)
                if downhill and drawing.random() < _FOLLOW:
                    step = downhill * abs(step)
                place = dimension.to_unit(block[dimension.name]) + step
                value = dimension.from_unit(place if 0 <= place <= 1 else drawing.random())
            if value != block[dimension.name]:
                changes[dimension.name] = value
        return complete_changes(changes, block)


def gather_experience(trials: Sequence[Trial]) -> list[Experience]:
    """The trials with a level each: improvement over the baseline, summed over the keeps before it.

    A crash counts as a bad result (the 90 % quantile), never as an absurd one that would blind the
    sampler; what was refused without a run, or edits code, teaches nothing about the block.
    """
    past: list[Experience] = []
    incumbent = 0.0
    for trial in trials:
        if trial.verdict in (Verdict.REFUSED, Verdict.BASELINE, Verdict.RETEST):
            continue
        kept = trial.verdict in (Verdict.KEEP, Verdict.EQUIVALENT)
        usable = trial.difference is not None and math.isfinite(trial.difference)
        level = incumbent + (trial.difference or 0.0) if usable else _penalty(past)
        if not trial_edits_code(trial):
            past.append(Experience(plain_values(trial.hyperparameters), trial.changes, level, kept))
        if kept and usable:
            incumbent = level
    return past


def trial_edits_code(trial: Trial) -> bool:
    """True when no hyperparameter changed: what it measured is an edit of the code."""
    return not trial.changes


def open_study(dimensions: Sequence[Dimension], past: Sequence[Experience], seed: int) -> optuna.Study:
    """An Optuna study that knows every past trial; sampling from it is deterministic."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=8, multivariate=False)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    space = {dimension.name: _distribution(dimension) for dimension in dimensions}
    for item in past:
        known = {d.name: _coordinate(d, item.values[d.name]) for d in dimensions if _fits(d, item.values)}
        study.add_trial(
            optuna.trial.create_trial(
                params=known, distributions={name: space[name] for name in known}, value=item.level
            )
        )
    return study


def choose_dimensions(
    dimensions: Sequence[Dimension], past: Sequence[Experience], drawing: random.Random
) -> list[Dimension]:
    """One to three dimensions to change; more of them while nothing has helped for long."""
    if not dimensions:
        return []
    since_keep = next((i for i, item in enumerate(reversed(past)) if item.kept), len(past))
    sizes = (0.6, 0.3, 0.1) if since_keep < 10 else (0.4, 0.35, 0.25)
    count = drawing.choices((1, 2, 3), sizes)[0]
    weights = {d.name: _weight(d, past) for d in dimensions}
    chosen: list[Dimension] = []
    while len(chosen) < min(count, len(dimensions)):
        left = [d for d in dimensions if d not in chosen]
        chosen.append(drawing.choices(left, [weights[d.name] for d in left])[0])
    return chosen


def draw_from_model(
    dimensions: Sequence[Dimension],
    block: Mapping[str, Value],
    past: Sequence[Experience],
    drawing: random.Random,
) -> dict[str, Value]:
    """One to five changes that a draw of the additive model finds best; none while there are few trials."""
    active = active_dimensions(dimensions, block)
    fitting = [item for item in past if all(_fits(d, item.values) for d in active)]
    if len(fitting) < _ENOUGH:
        return {}
    level = next((item.level for item in reversed(past) if item.kept), 0.0)
    trials = [(item.values, item.level) for item in fitting]
    best = sample_best_values(active, block, level, trials, drawing.getrandbits(31))
    count = drawing.choices((1, 2, 3, 4, 5), (0.15, 0.25, 0.25, 0.2, 0.15))[0]
    return complete_changes({dimension.name: value for dimension, value in best[:count]}, block)


def find_downhill(dimension: Dimension, past: Sequence[Experience]) -> int:
    """+1 or -1: the direction of a number in which the levels of past trials fall; 0 when unknown."""
    seen = [item for item in past if _fits(dimension, item.values)]
    if sum(dimension.name in item.changes for item in seen) < 2:
        return 0
    highest = sorted(item.level for item in seen)[int(0.75 * (len(seen) - 1))]
    places = [dimension.to_unit(item.values[dimension.name]) for item in seen]  # type: ignore[arg-type]
    levels = [min(item.level, highest) for item in seen]
    middle, mean = sum(places) / len(places), sum(levels) / len(levels)
    slope = sum((place - middle) * (level - mean) for place, level in zip(places, levels, strict=True))
    return (slope < 0) - (slope > 0)


def is_repeat(values: Mapping[str, object], tried: Sequence[Mapping[str, object]]) -> bool:
    """Whether a vector equals a tried one up to differences that only noise would show."""
    return any(_alike(values, other) for other in tried)


def describe(changes: Mapping[str, Value], block: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {block[name]} -> {value}" for name, value in changes.items())


def _alike(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    if one.keys() != other.keys():
        return False
    if all(_near(one[name], other[name]) for name in one):
        return True
    shape = {"ASPECT_RATIO"}
    rest = all(_near(one[name], other[name]) for name in one.keys() - shape)
    return rest and model_width(one) == model_width(other)  # type: ignore[arg-type]


def _near(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, str) or isinstance(other, str):
        return one == other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= _NEAR * max(abs(one), abs(other))
    return one == other


def _weight(dimension: Dimension, past: Sequence[Experience]) -> float:
    mine = [item for item in past if dimension.name in item.changes]
    return dimension.parameter.weight * (1 + 3 * sum(item.kept for item in mine)) / math.sqrt(1 + len(mine))


def _penalty(past: Sequence[Experience]) -> float:
    levels = sorted(item.level for item in past)
    return max(0.0, levels[min(len(levels) - 1, int(_PENALTY * len(levels)))]) if levels else 0.0


def _sample(
    study: optuna.Study, dimensions: Sequence[Dimension], block: Mapping[str, Value], free: set[str]
) -> dict[str, Value]:
    import optuna

    trial = study.ask()
    values: dict[str, Value] = {}
    for dimension in dimensions:
        if dimension.name not in free:
            continue
        if dimension.choices:
            index = trial.suggest_categorical(dimension.name, tuple(range(len(dimension.choices))))
            values[dimension.name] = dimension.choices[index]
        else:
            values[dimension.name] = dimension.from_unit(trial.suggest_float(dimension.name, 0.0, 1.0))
    study.tell(trial, state=optuna.trial.TrialState.FAIL)  # Asked, not run: must not count as a result.
    return values


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    import optuna

    if dimension.choices:
        return optuna.distributions.CategoricalDistribution(tuple(range(len(dimension.choices))))
    return optuna.distributions.FloatDistribution(0.0, 1.0)


def _fits(dimension: Dimension, values: Mapping[str, object]) -> bool:
    """Whether a trial's value is one that this dimension can hold: the file may have changed since."""
    value = values.get(dimension.name)
    if dimension.choices:
        return value in dimension.choices
    return isinstance(value, int | float) and not isinstance(value, bool)


def _coordinate(dimension: Dimension, value: object) -> float | int:
    if dimension.choices:
        return dimension.choices.index(value)
    return dimension.to_unit(value)  # type: ignore[arg-type]
