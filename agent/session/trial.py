"""Takes a proposal from PROPOSED to JUDGED: pairs on the session's seeds until the judge has a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

from agent.judging.judge import JudgePolicy, judge
from agent.judging.noise import NoiseEstimate, estimate_noise
from agent.judging.seed_plan import BLOCK_SIZE, seed_index
from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, ProposalState, RunRecord, SessionState
from agent.session.measuring import REFUSALS
from agent.session.pairing import Pairing
from agent.verdict import Judgement, Pair, Verdict


class Trials:
    """Measures and judges the proposals of one session.

    `check_limits` is called before every pair and raises to stop; the proposal then stays as it is and goes
    on at the next start.
    """

    def __init__(
        self,
        ledger: Ledger,
        session_id: str,
        pairing: Pairing,
        policy: JudgePolicy,
        *,
        check_limits: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._pairing = pairing
        self._policy = policy
        self._check_limits = check_limits

    async def judge(self, proposal: ProposalRecord) -> ProposalRecord:
        """The proposal with its verdict, written down. One that has a verdict already is returned as it is.

        Raises TrainerLost, TrainerRefused (also where the incumbent itself cannot run; a candidate that
        failed has its verdict then), and what `check_limits` raises.
        """
        if proposal.state in (ProposalState.JUDGED, ProposalState.RECORDED):
            return proposal
        self._ledger.update_session(self._session_id, state=SessionState.RUNNING)
        proposal = self._ledger.put_proposal(replace(proposal, state=ProposalState.RUNNING))
        noise = self.noise(without=proposal.number)
        pairs: list[Pair] = []
        runs: list[RunRecord] = []
        for position in range(BLOCK_SIZE):
            self._check_limits()
            seed = seed_index(proposal.seed_block, position)
            candidate, incumbent = await self._pairing.measure(proposal, position, seed)
            runs.append(candidate)
            if candidate.failure_reason or candidate.val_bpb is None or incumbent is None:
                proposal = self._crashed(proposal, runs, candidate)
                await self._pairing.prove_incumbent(proposal, candidate, position, seed)
                return proposal
            pairs.append(Pair(candidate.seed, candidate.val_bpb, incumbent.val_bpb or 0.0))
            judgement = judge(
                pairs,
                noise,
                self._policy,
                number=proposal.number,
                simpler=proposal.simpler,
                equivalents=self._equivalents(),
            )
            proposal = _measured(proposal, runs, pairs, judgement)
            if judgement.verdict is not Verdict.RETEST:
                break
            self._ledger.put_proposal(replace(proposal, reason=judgement.reason))
        return self._decide(proposal, judgement.verdict, judgement.reason)

    def noise(self, *, without: int | None = None) -> NoiseEstimate:
        """Noise of a paired difference, from the baseline's replicates and all judged pairs but one's."""
        baseline = [
            run.val_bpb
            for run in self._ledger.runs.of_proposal(self._session_id, 0)
            if run.ended and not run.void and run.val_bpb is not None
        ]
        judged = self._ledger.proposals.all(self._session_id)
        return estimate_noise(
            baseline, [item.differences for item in judged if item.number not in (0, without)]
        )

    def _crashed(self, proposal: ProposalRecord, runs: list[RunRecord], failed: RunRecord) -> ProposalRecord:
        refused = failed.failure_reason in REFUSALS
        reason = f"{failed.failure_reason}: {failed.failure_message}".rstrip(": ")
        proposal = replace(proposal, val_bpb=None, memory_gb=_memory(runs))
        return self._decide(proposal, Verdict.REFUSED if refused else Verdict.CRASH, reason)

    def _decide(self, proposal: ProposalRecord, verdict: Verdict, reason: str) -> ProposalRecord:
        with self._ledger.transaction():
            proposal = self._ledger.put_proposal(
                replace(
                    proposal,
                    state=ProposalState.JUDGED,
                    verdict=verdict,
                    reason=reason,
                    judged_at=self._ledger.now(),
                )
            )
            self._ledger.update_session(
                self._session_id, state=SessionState.JUDGING, noise_sigma=self.noise().sigma
            )
        return proposal

    def _equivalents(self) -> int:
        judged = self._ledger.proposals.all(self._session_id)
        return sum(item.verdict is Verdict.EQUIVALENT for item in judged)


def _measured(
    proposal: ProposalRecord, runs: list[RunRecord], pairs: list[Pair], judgement: Judgement
) -> ProposalRecord:
    return replace(
        proposal,
        val_bpb=statistics.fmean(pair.candidate for pair in pairs),
        differences=tuple(pair.difference for pair in pairs),
        difference=judgement.mean_difference,
        difference_error=judgement.standard_error,
        memory_gb=_memory(runs),
    )


def _memory(runs: list[RunRecord]) -> float:
    return max((run.memory_bytes for run in runs), default=0) / 1e9
