"""Turns what a proposer hands over into a proposal of the ledger, and refuses what was tried before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.judging.seed_plan import block_of_next
from agent.judging.simplicity import is_simpler
from agent.lab.results_table import one_line
from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, ProposalState, SessionRecord
from agent.llm.reading_source import readable_block, source_edits_code
from agent.proposer import Draft, Trial
from agent.session.repeats import Repeat, Tried, describe_tried, diff_text, find_repeat, retuned
from agent.verdict import Verdict

LARGEST_SOURCE = 1024 * 1024


@dataclass(frozen=True)
class Spent:
    """What having the idea cost."""

    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


class Drafting:
    """Makes the proposals of one session. Keeps the programs that were tried, computed once each."""

    def __init__(self, ledger: Ledger, session_id: str) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._tried: dict[str, Tried] = {}

    def find_repeat(self, source: str) -> Repeat | None:
        """The earlier proposal that a file repeats. What was refused without a run does not count."""
        session = self._ledger.session(self._session_id)
        incumbent = self._ledger.text(session.tip_source_hash)
        if source_edits_code(incumbent, source):
            return find_repeat(self._describe(-1, source, with_shape=True), self._known(with_shape=True))
        base = self._describe(-1, incumbent, with_shape=False)
        candidate = self._tried.setdefault(source, retuned(-1, base, readable_block(source)))
        return find_repeat(candidate, self._known(with_shape=False))

    def admit(self, number: int, draft: Draft, spent: Spent) -> ProposalRecord:
        """Writes a draft down as PROPOSED, or as refused when it is a repeat or no change at all."""
        session = self._ledger.session(self._session_id)
        incumbent = self._ledger.text(session.tip_source_hash)
        if len(draft.source.encode(errors="replace")) > LARGEST_SOURCE:
            return self.refuse(number, draft.description, "train.py would be larger than 1 MiB", spent)
        try:
            draft.source.encode()
        except UnicodeEncodeError as error:
            return self.refuse(number, draft.description, f"train.py is not text: {error.reason}", spent)
        proposal = self._new(number, session, draft.description, spent)
        proposal = replace(
            proposal,
            source_hash=self._ledger.put_text("source", draft.source),
            diff_hash=self._ledger.put_text("diff", diff_text(incumbent, draft.source)),
            changes=dict(draft.changes),
            hyperparameters=readable_block(draft.source),
            edits_code=draft.edits_code,
            simpler=draft.edits_code and is_simpler(draft.source, incumbent),
            token=draft.token,
        )
        repeat = self.find_repeat(draft.source)
        if repeat is not None:
            what = "the incumbent" if repeat.number == self._tip_number() else f"proposal {repeat.number}"
            return self._put_refused(proposal, f"repeats {what}: {repeat.how}")
        return self._ledger.put_proposal(proposal)

    def refuse(self, number: int, description: str, reason: str, spent: Spent) -> ProposalRecord:
        """A slot that came to nothing: judged REFUSED without a run."""
        session = self._ledger.session(self._session_id)
        return self._put_refused(self._new(number, session, description, spent), reason)

    def history(self) -> list[Trial]:
        """Every recorded proposal as proposers see it, oldest first."""
        return [
            as_trial(item)
            for item in self._ledger.proposals.all(self._session_id)
            if item.number > 0 and item.state is ProposalState.RECORDED
        ]

    def _put_refused(self, proposal: ProposalRecord, reason: str) -> ProposalRecord:
        return self._ledger.put_proposal(
            replace(
                proposal,
                state=ProposalState.JUDGED,
                verdict=Verdict.REFUSED,
                reason=one_line(reason),
                judged_at=self._ledger.now(),
            )
        )

    def _new(self, number: int, session: SessionRecord, description: str, spent: Spent) -> ProposalRecord:
        return ProposalRecord(
            session_id=self._session_id,
            number=number,
            description=one_line(description) or f"proposal {number}",
            state=ProposalState.PROPOSED,
            source_hash=session.tip_source_hash,
            parent_commit=session.tip_commit,
            parent_source_hash=session.tip_source_hash,
            diff_hash=self._ledger.put_text("diff", ""),
            created_at=self._ledger.now(),
            seed_block=block_of_next(self._ledger.proposals.all(self._session_id)),
            commit=session.tip_commit,
            cost_usd=spent.cost_usd,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
        )

    def _tip_number(self) -> int:
        kept = [item.number for item in self._ledger.proposals.all(self._session_id) if item.is_commit]
        return max(kept, default=0)

    def _known(self, *, with_shape: bool) -> list[Tried]:
        return [
            self._describe(item.number, self._ledger.text(item.source_hash), with_shape=with_shape)
            for item in self._ledger.proposals.all(self._session_id)
            if item.verdict is not Verdict.REFUSED
        ]

    def _describe(self, number: int, source: str, *, with_shape: bool) -> Tried:
        """Computed once for each program: it takes some ten milliseconds."""
        known = self._tried.get(source)
        if known is None or (with_shape and not known.shape):
            known = describe_tried(number, source, readable_block(source), with_shape=with_shape)
            self._tried[source] = known
        return replace(known, number=number)


def as_trial(proposal: ProposalRecord) -> Trial:
    return Trial(
        number=proposal.number,
        description=proposal.description,
        changes=proposal.changes,
        hyperparameters=proposal.hyperparameters,
        verdict=proposal.verdict or Verdict.DISCARD,
        val_bpb=proposal.val_bpb,
        difference=proposal.difference,
        reason=proposal.reason,
        diff_hash=proposal.diff_hash,
        token=proposal.token,
    )
