"""Search without a memory, to compare with: every proposal is drawn uniformly."""

from __future__ import annotations

import random

from agent.proposer import Draft, ResearchContext, Trial
from agent.search.dimensions import active_dimensions, complete_changes, dimensions_of
from agent.search.hyperparameters import read_block, set_values
from agent.search.proposer import describe
from agent.search.space import Value


class RandomProposer:
    """Uniform values for `most` hyperparameters of the incumbent at most (0: for all of them)."""

    def __init__(self, seed: int, most: int = 0) -> None:
        self.name = "random"
        self._seed = seed
        self._most = most

    async def check(self) -> None:
        """There is nothing to ask."""

    async def propose(self, context: ResearchContext) -> Draft | None:
        block = read_block(context.source)
        drawing = random.Random(f"{self._seed}/{context.next_number}/random")
        dimensions = active_dimensions(dimensions_of(block), block)
        if self._most:
            dimensions = drawing.sample(dimensions, drawing.randint(1, min(self._most, len(dimensions))))
        drawn: dict[str, Value] = {}
        for dimension in dimensions:
            choice = drawing.choice(dimension.choices) if dimension.choices else None
            drawn[dimension.name] = dimension.from_unit(drawing.random()) if choice is None else choice
        changes = {name: value for name, value in drawn.items() if value != block[name]}
        changes = complete_changes(changes, block)
        return Draft(set_values(context.source, changes), describe(changes, block), changes)

    async def learn(self, trial: Trial) -> None:
        """Learns nothing, which is the point of it."""

    async def close(self) -> None:
        """Nothing is held open."""
