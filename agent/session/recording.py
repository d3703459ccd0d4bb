"""Takes a proposal from JUDGED to RECORDED: the commit of a keep, the memory, the exports."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from agent.lab.champion import Champion
from agent.lab.lock import unwritable
from agent.lab.memory import LabMemory, describe_proposal
from agent.lab.progress_chart import draw_progress
from agent.lab.results_table import NAME, one_line, write_results
from agent.lab.workspace import TRAILER, Workspace
from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, ProposalState
from agent.verdict import Verdict

CHART_SECONDS = 60.0  # drawing takes a second of a core that trains
log = logging.getLogger(__name__)


class Recorder:
    """Writes verdicts where they belong. Every step may be taken twice: a crash costs nothing."""

    def __init__(
        self,
        ledger: Ledger,
        session_id: str,
        workspace: Workspace,
        memory: LabMemory,
        champion: Champion,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._workspace = workspace
        self._memory = memory
        self._champion = champion
        self._monotonic = monotonic
        self._drawn_at = monotonic()
        self._background: set[asyncio.Task[object]] = set()

    async def record(self, proposal: ProposalRecord) -> ProposalRecord:
        """Commits a keep, then marks the proposal RECORDED. Only the judge's verdict makes a commit.

        Raises FailedPreconditionError (LAB_DIRTY, LAB_MOVED, LAB_FAILED) and leaves the proposal JUDGED.
        """
        if proposal.state is ProposalState.RECORDED:
            return proposal
        commit = proposal.parent_commit
        if proposal.is_commit:
            commit = await asyncio.to_thread(
                self._workspace.commit,
                proposal.number,
                proposal.parent_commit,
                self._ledger.text(proposal.source_hash),
                commit_message(proposal),
                proposal.judged_at or proposal.created_at,
            )
        session = self._ledger.session(self._session_id)
        with self._ledger.transaction():
            proposal = self._ledger.put_proposal(
                replace(proposal, state=ProposalState.RECORDED, commit=commit, ended_at=self._ledger.now())
            )
            if proposal.is_commit:
                self._ledger.update_session(
                    self._session_id, tip_commit=commit, tip_source_hash=proposal.source_hash
                )
            if proposal.verdict is not Verdict.REFUSED:  # nothing was learnt of it
                text, tags = describe_proposal(session, proposal)
                self._memory.remember(proposal.proposal_id, text, tags, 1.0 if proposal.is_commit else 0.3)
        await asyncio.to_thread(self._workspace.close_worktree, proposal.number)
        self.export()
        self._spawn(self._memory.deliver())
        if proposal.is_commit:
            self.refresh_best()
        return proposal

    def export(self) -> None:
        """Writes results.tsv anew from the ledger; what was edited by hand there is lost, as it decides
        nothing. Raises FailedPreconditionError (LAB_READ_ONLY)."""
        try:
            write_results(self._workspace.lab / NAME, self._ledger.proposals.all(self._session_id))
        except OSError as error:
            raise unwritable(self._workspace.lab, error) from error

    def refresh_best(self) -> None:
        """Fetches the champion's files, beside whatever else goes on, and now and then draws the chart."""
        self._spawn(self._champion.refresh())
        now = self._monotonic()
        if now - self._drawn_at >= CHART_SECONDS:
            self._drawn_at = now
            self._spawn(draw_progress(self._ledger, self._session_id, self._workspace.lab))

    async def finish(self, seconds: float = 3.0) -> None:
        """Draws the chart, waits for what goes on in the background, at most so long, and ends the rest."""
        if seconds >= 1:
            self._spawn(draw_progress(self._ledger, self._session_id, self._workspace.lab))
        if self._background:
            await asyncio.wait(self._background, timeout=seconds)
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _spawn(self, work: object) -> None:
        task = asyncio.create_task(_quietly(work))  # type: ignore[arg-type]
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _quietly(work: asyncio.Future[object]) -> object:
    """Exports are conveniences: their failure is logged and stops nothing."""
    try:
        return await work
    except Exception:
        log.exception("a background task failed")
        return None


def commit_message(proposal: ProposalRecord) -> str:
    """Subject, the judge's reason, and the trailer by which a commit is known as the proposal's."""
    subject = one_line(proposal.description, 72) or f"Proposal {proposal.number}"
    return f"{subject}\n\n{one_line(proposal.reason)}\n\n{TRAILER}: {proposal.proposal_id}\n"
