"""The loop: have an idea, measure it, judge it, record it, learn from it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.lab.memory import LabMemory
from agent.lab.workspace import Workspace
from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, ProposalState, SessionState, StopReason
from agent.proposer import Proposer, ResearchContext
from agent.session.drafting import Drafting, Spent, as_trial
from agent.session.limits import (
    LimitReached,
    check_before_proposal,
    check_between_runs,
    forecast_text,
    remaining_experiments,
)
from agent.session.recording import Recorder
from agent.session.trial import Trials
from agent.verdict import Verdict
from services import tracing
from services.errors import DeadlineExceededError, InvalidArgumentError

# Without a cap on experiments, so many slots in a row that came to nothing end the session.
MOST_EMPTY_SLOTS = 50
log = logging.getLogger(__name__)


@dataclass
class Research:
    """The parts of one running session."""

    session_id: str
    ledger: Ledger
    workspace: Workspace
    drafting: Drafting
    trials: Trials
    recorder: Recorder
    memory: LabMemory
    proposer: Proposer
    proposal_limit: float
    monotonic: Callable[[], float] = time.monotonic
    counted_until: float | None = None

    async def run(self) -> tuple[StopReason, str]:
        """Works until a limit is reached or nothing is left to try; says which."""
        for trial in self.drafting.history():
            await self.proposer.learn(trial)
        empty_slots = 0
        while True:
            with tracing.span("proposal", new_trace=True, session=self.session_id):
                proposal = self.ledger.proposals.unfinished(self.session_id) or await self.next_proposal()
                if proposal is None:
                    return StopReason.PROPOSER_DONE, "the proposer has nothing more to try"
                proposal = await self.trials.judge(await self.open_worktree(proposal))
                proposal = await self.recorder.record(proposal)
                await self.proposer.learn(as_trial(proposal))
            self.count_time()
            session, totals = self.ledger.session(self.session_id), self.ledger.totals(self.session_id)
            if told := forecast_text(session, totals):
                self.ledger.say(self.session_id, told)
            empty_slots = empty_slots + 1 if proposal.verdict is Verdict.REFUSED else 0
            self.refuse_empty_night(empty_slots)

    async def next_proposal(self) -> ProposalRecord | None:
        """The next proposal, written down; a proposer's failure costs its slot and no more.

        Raises LimitReached, and UnavailableError when the proposer's service is gone.
        """
        self.count_time()
        session = self.ledger.update_session(self.session_id, state=SessionState.PROPOSING)
        totals = self.ledger.totals(self.session_id)
        check_before_proposal(session, totals)
        number = self.ledger.proposals.next_number(self.session_id)
        trials = self.drafting.history()
        context = ResearchContext(
            source=self.ledger.text(session.tip_source_hash),
            incumbent_val_bpb=totals.best_val_bpb or 0.0,
            noise_sigma=session.noise_sigma or 0.0,
            trials=trials,
            memories=await self.memory.recall(_topic(trials)),
            next_number=number,
            remaining=remaining_experiments(session, totals),
        )
        try:
            async with asyncio.timeout(self.proposal_limit):
                draft = await self.proposer.propose(context)
        except TimeoutError:
            reason = f"the proposer had no idea within {self.proposal_limit:.0f} s"
            return self.drafting.refuse(number, "no proposal", reason, self.spent(number))
        except (InvalidArgumentError, DeadlineExceededError) as error:
            return self.drafting.refuse(number, "no valid proposal", error.message, self.spent(number))
        return None if draft is None else self.drafting.admit(number, draft, self.spent(number))

    async def open_worktree(self, proposal: ProposalRecord) -> ProposalRecord:
        if proposal.state in (ProposalState.PROPOSED, ProposalState.RUNNING):
            source = self.ledger.text(proposal.source_hash)
            await asyncio.to_thread(
                self.workspace.open_worktree, proposal.number, proposal.parent_commit, source
            )
        return proposal

    def check_limits(self) -> None:
        """Between training runs. Raises LimitReached."""
        self.count_time()
        check_between_runs(self.ledger.session(self.session_id), self.ledger.totals(self.session_id))

    def count_time(self) -> None:
        """Adds the time since the last call to the session's active seconds; clocks that jump do no harm."""
        now = self.monotonic()
        if self.counted_until is not None:
            active = self.ledger.session(self.session_id).active_seconds + now - self.counted_until
            self.ledger.update_session(self.session_id, active_seconds=active)
        self.counted_until = now

    def spent(self, number: int) -> Spent:
        """What the ledger says the work on a proposal's idea has cost."""
        totals = self.ledger.money.totals(self.session_id, number)
        output = totals.usage.output_tokens
        return Spent(totals.cost_usd, totals.usage.total - output, output)

    def refuse_empty_night(self, empty_slots: int) -> None:
        if empty_slots >= MOST_EMPTY_SLOTS and self.ledger.session(self.session_id).max_experiments is None:
            raise LimitReached(
                StopReason.PROVIDER_FAILED, f"{empty_slots} proposals in a row came to nothing"
            )


def _topic(trials: list[object] | object) -> str:
    """What to look for in memory before a proposal: the last ideas."""
    recent = list(trials)[-3:] if isinstance(trials, list) else []
    return " ".join(getattr(trial, "description", "") for trial in recent) or "hyperparameters worth trying"
