"""A stand-in for a language model in comparisons on the surrogate: plausible changes, often wrong.

Only for agent/search/bench.py. It is no model and calls none: it moves one or two hyperparameters by a noisy
step, in the direction that is better on the surrogate with probability `skill` (0.5: it knows nothing), and
in one of ten slots its answer is of no use at all.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from agent.proposer import Draft, Proposer, ResearchContext, Trial
from agent.search.dimensions import Dimension, active_dimensions, complete_changes, dimensions_of
from agent.search.hyperparameters import read_block, set_values
from agent.search.proposer import describe
from agent.search.space import Value
from agent.search.surrogate import Surrogate
from services.errors import InvalidArgumentError

SKILL = 0.6
FAULTY = 0.1
_STEP = 0.2  # of the unit axis, standard deviation


class SimulatedModel:
    """Same seed, number and incumbent: same draft."""

    def __init__(self, seed: int, surrogate: Surrogate, skill: float = SKILL) -> None:
        self.name = "simulated"
        self._seed = seed
        self._surrogate = surrogate
        self._skill = skill

    async def check(self) -> None:
        """There is nothing to ask."""

    async def propose(self, context: ResearchContext) -> Draft | None:
        drawing = random.Random(f"{self._seed}/{context.next_number}/model")
        if drawing.random() < FAULTY:
            raise InvalidArgumentError("simulated: an answer of no use", field="draft")
        block = read_block(context.source)
        dimensions = active_dimensions(dimensions_of(block), block)
        chosen = drawing.sample(dimensions, min(drawing.randint(1, 2), len(dimensions)))
        changes = {item.name: self._value(item, block, drawing) for item in chosen}
        changes = {name: value for name, value in changes.items() if value != block[name]}
        if not changes:
            return None
        changes = complete_changes(changes, block)
        return Draft(set_values(context.source, changes), describe(changes, block), changes)

    async def learn(self, trial: Trial) -> None:
        """Learns nothing: what a real model makes of a history cannot be simulated."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _value(self, dimension: Dimension, block: Mapping[str, Value], drawing: random.Random) -> Value:
        def score(value: Value) -> float:
            return self._surrogate.difference({**block, dimension.name: value})

        right = drawing.random() < self._skill
        if dimension.choices:
            others = [choice for choice in dimension.choices if choice != block[dimension.name]]
            return min(others, key=score) if right else drawing.choice(others)
        place, step = dimension.to_unit(block[dimension.name]), abs(drawing.gauss(0, _STEP))
        ends = [dimension.from_unit(min(1.0, max(0.0, place + sign * step))) for sign in (1, -1)]
        drawing.shuffle(ends)  # a hyperparameter that the surrogate does not know has no better direction
        return min(ends, key=score) if right else max(ends, key=score)


_: type[Proposer] = SimulatedModel
