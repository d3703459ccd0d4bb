"""The seam between the loop and whatever has ideas: search, a language model, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.verdict import Verdict


@dataclass(frozen=True)
class Draft:
    """A change to try: the whole new train.py and what it is about.

    `changes` holds hyperparameters that differ from the incumbent, by name; empty for edits of code.
    `edits_code` is True as soon as anything outside the hyperparameter block differs.
    `token` is the proposer's own handle, given back to `learn`.
    """

    source: str
    description: str
    changes: Mapping[str, object] = field(default_factory=dict)
    edits_code: bool = False
    token: str = ""
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Trial:
    """One finished proposal, as the ledger has it."""

    number: int
    description: str
    changes: Mapping[str, object]
    hyperparameters: Mapping[str, object]
    verdict: Verdict
    val_bpb: float | None
    difference: float | None
    reason: str
    diff_hash: str
    token: str = ""


@dataclass(frozen=True)
class ResearchContext:
    """What a proposer may look at: the incumbent's source and score, the history, the noise, memories."""

    source: str
    incumbent_val_bpb: float
    noise_sigma: float
    trials: Sequence[Trial]
    memories: Sequence[str] = ()
    next_number: int = 1
    remaining: int | None = None


class Proposer(Protocol):
    """Has ideas. Implementations: agent/search/proposer.py, agent/llm/proposer.py, agent/hybrid_proposer.py,
    agent/scripted_proposer.py.

    `propose` returns None when the proposer has nothing more to try. It raises UnavailableError when the
    service behind it cannot be reached after its own bounded retries, and InvalidArgumentError for a draft
    that could not be made into a valid file (this costs one slot). `learn` is called once for each trial,
    in order; on resume it is called for the whole history before the first `propose`, so that a proposer
    keeps no state of its own that matters. `check` is called once before anything is trained and raises
    UnavailableError where the service behind the proposer would refuse every call.
    """

    name: str

    async def check(self) -> None: ...

    async def propose(self, context: ResearchContext) -> Draft | None: ...

    async def learn(self, trial: Trial) -> None: ...

    async def close(self) -> None: ...
