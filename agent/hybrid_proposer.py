"""Search with a language model beside it: the model takes about three of ten slots, informed by the search.

Both learn from every trial. Numbers that search does well stay with search; the model is for ideas that no
table of ranges holds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from agent.proposer import Draft, Proposer, ResearchContext, Trial
from agent.verdict import Verdict
from services.errors import InvalidArgumentError

SHARE = 0.3


class HybridProposer:
    """Whose turn it is follows from the session and the number alone, so a resumed session agrees.

    A slot in which the model has no valid idea goes to the search.
    """

    name = "hybrid"

    def __init__(self, search: Proposer, model: Proposer, *, key: str, share: float = SHARE) -> None:
        self._search = search
        self._model = model
        self._key = key
        self._share = share

    def asks_model(self, number: int) -> bool:
        """Whether slot `number` is the model's."""
        return random.Random(f"{self._key}/{number}").random() < self._share

    async def check(self) -> None:
        await self._model.check()

    async def propose(self, context: ResearchContext) -> Draft | None:
        if self.asks_model(context.next_number):
            try:
                draft = await self._model.propose(context)
            except InvalidArgumentError:
                draft = None
            if draft is not None:
                return draft
        return await self._search.propose(context)

    async def learn(self, trial: Trial) -> None:
        await self._search.learn(trial)
        await self._model.learn(trial)

    async def close(self) -> None:
        await self._search.close()
        await self._model.close()


def describe_trials(trials: Sequence[Trial], sigma: float) -> str:
    """What the measured trials say of each hyperparameter: its best and worst change, in sigmas."""
    lines = []
    for name in sorted({name for trial in trials for name in trial.changes}):
        measured = [
            (trial.difference, trial.changes[name])
            for trial in trials
            if name in trial.changes
            and trial.difference is not None
            and trial.verdict not in (Verdict.CRASH, Verdict.REFUSED)
        ]
        crashes = sum(trial.verdict is Verdict.CRASH for trial in trials if name in trial.changes)
        if not measured:
            continue
        best, worst = min(measured, key=_difference), max(measured, key=_difference)
        scale = sigma or 1.0
        lines.append(
            f"{name}: {len(measured)} tried, best {best[1]} ({best[0] / scale:+.1f} sigma), "
            f"worst {worst[1]} ({worst[0] / scale:+.1f} sigma)" + (f", {crashes} crashed" if crashes else "")
        )
    return "\n".join(lines)


def _difference(entry: tuple[float, object]) -> float:
    return entry[0]


_: type[Proposer] = HybridProposer
