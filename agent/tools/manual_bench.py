"""The bench of manual mode: the draft is a file that any editor or coding agent may change as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from agent.lab.lock import unwritable
from agent.lab.workspace import SOURCE_NAME
from agent.ledger.records import ProposalRecord, ProposalState, SessionRecord, SessionState
from agent.llm.reading_source import source_edits_code
from agent.proposer import Draft
from agent.search.hyperparameters import changed_values
from agent.session.drafting import Spent
from agent.session.limits import check_before_proposal
from agent.session.session import Session
from agent.tools.bench import Bench
from agent.tools.outcome import describe_outcome, last_lines, verdict_name
from agent.verdict import Verdict
from services.errors import FailedPreconditionError, InvalidArgumentError, ServiceError

DRAFT_FOLDER = "draft"


class ManualBench:
    """Works on one session whose loop does not run."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._path: Path = session.workspace.state / DRAFT_FOLDER / SOURCE_NAME
        self.place = str(self._path)

    def draft(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return self.incumbent()
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(
                f"{self._path} is not UTF-8 text: {error.reason}", field="draft"
            ) from error
        except OSError as error:
            raise unwritable(self._path.parent, error) from error

    def replace_draft(self, source: str) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(source, encoding="utf-8", newline="")
        except OSError as error:
            raise unwritable(self._path.parent, error) from error

    def session(self) -> SessionRecord:
        return self._session.record

    def proposals(self) -> Sequence[ProposalRecord]:
        return self._session.ledger.proposals.all(self._session.session_id)

    def incumbent(self) -> str:
        return self._session.ledger.text(self.session().tip_source_hash)

    async def run(self, description: str, wait_seconds: float) -> Mapping[str, object]:
        if not self._session.running:
            pending = await self._settle_pending()
            draft = self.draft()
            if pending is None:
                self._check(draft)
            else:
                self._refuse_other(pending, draft)
            self._session.spawn(self._work(pending, draft, description))
        number = self._number_under_way()
        finished = await self._session.wait(wait_seconds)
        if not finished:
            return self._running()
        judged = self._session.ledger.proposals.find(self._session.session_id, number)
        if judged is None or judged.state not in (ProposalState.JUDGED, ProposalState.RECORDED):
            raise FailedPreconditionError("the experiment was stopped before it was judged")
        return describe_outcome(judged) | last_lines(self._session.ledger, judged)

    async def decide(self, keep: bool, note: str) -> Mapping[str, object]:
        if self._session.running:
            raise FailedPreconditionError("an experiment is running: call run_experiment to wait for it")
        pending = self._session.ledger.proposals.unfinished(self._session.session_id)
        judged = pending if pending is not None and pending.state is ProposalState.JUDGED else None
        if keep and judged is None:
            raise FailedPreconditionError("nothing was judged: call run_experiment first")
        if keep and judged is not None and not judged.is_commit:
            raise FailedPreconditionError(
                f"the judge says {verdict_name(judged)}: {judged.reason}. Only KEEP and EQUIVALENT become "
                "commits"
            )
        edited_since = False
        if pending is not None and judged is None:
            edited_since = self.draft() != self._session.ledger.text(pending.source_hash)
            judged = self._give_up(pending)
        elif judged is not None and judged.is_commit and not keep:
            reason = f"given up by hand{': ' + note if note else ''}; the judge said {verdict_name(judged)}"
            judged = self._session.ledger.put_proposal(
                replace(judged, verdict=Verdict.DISCARD, reason=reason)
            )
        recorded = await self._session.recorder.record(judged) if judged is not None else None
        if not edited_since:
            self.replace_draft(self.incumbent())
        done: dict[str, object] = {"kept": keep, "draft": "as it was" if edited_since else "the incumbent"}
        if recorded is not None:
            done |= {"number": recorded.number, "commit": recorded.commit[:7]}
        return done

    async def recollect(self, text: str, store: bool, limit: int) -> Sequence[str]:
        memory = self._session.memory
        if not store:
            return await memory.recall(text, limit)
        key = f"{self._session.session_id}-note-{sha256(text.encode()).hexdigest()[:16]}"
        tags = {"kind": "insight", "session": self._session.session_id}
        memory.remember(key, text, tags, 0.8)
        await memory.deliver()
        return []

    async def _settle_pending(self) -> ProposalRecord | None:
        """The experiment that goes on, if one does. What was judged and given up is recorded."""
        pending = self._session.ledger.proposals.unfinished(self._session.session_id)
        if pending is None or pending.state is not ProposalState.JUDGED:
            return pending
        if pending.is_commit:
            raise FailedPreconditionError(
                f"the last experiment was judged {verdict_name(pending)}: keep or discard before the next"
            )
        await self._session.recorder.record(pending)
        return None

    def _check(self, draft: str) -> None:
        ledger, record = self._session.ledger, self._session.record
        if draft == self.incumbent() and ledger.proposals.find(record.session_id, 0) is not None:
            raise InvalidArgumentError(
                f"the draft is the incumbent: change it first (set_hyperparams, edit_code, or {self._path})",
                field="draft",
            )
        check_before_proposal(record, ledger.totals(record.session_id))
        if ledger.proposals.find(record.session_id, 0) is not None:
            repeat = self._session.drafting.find_repeat(draft)
            if repeat is not None:
                raise FailedPreconditionError(
                    f"the draft repeats proposal {repeat.number}: {repeat.how}", reason="REPEAT"
                )

    def _refuse_other(self, pending: ProposalRecord, draft: str) -> None:
        """An experiment that goes on is not the draft's when that was edited meanwhile."""
        if draft not in (self._session.ledger.text(pending.source_hash), self.incumbent()):
            raise FailedPreconditionError(
                f"experiment {pending.number} ({pending.description}) was stopped before it was judged, and "
                "the draft was edited since: discard gives that experiment up and leaves the draft as it is"
            )

    def _give_up(self, pending: ProposalRecord) -> ProposalRecord:
        ledger = self._session.ledger
        return ledger.put_proposal(
            replace(
                pending,
                state=ProposalState.JUDGED,
                verdict=Verdict.REFUSED,
                reason="given up by hand before it was judged",
                judged_at=ledger.now(),
            )
        )

    async def _work(self, pending: ProposalRecord | None, draft: str, description: str) -> None:
        session = self._session
        await session.prepare()
        if pending is None:
            number = session.ledger.proposals.next_number(session.session_id)
            pending = session.drafting.admit(number, self._make_draft(draft, description), Spent())
        pending = await session.research.open_worktree(pending)
        await session.trials.judge(pending)
        session.ledger.update_session(session.session_id, state=SessionState.MANUAL)

    def _make_draft(self, source: str, description: str) -> Draft:
        incumbent = self.incumbent()
        edits = source_edits_code(incumbent, source)
        try:
            changes: Mapping[str, object] = changed_values(incumbent, source)
        except ServiceError:
            changes = {}
        return Draft(source, description, changes, edits)

    def _number_under_way(self) -> int:
        """Of the experiment that runs; its proposal may not be written down yet."""
        proposals, session_id = self._session.ledger.proposals, self._session.session_id
        pending = proposals.unfinished(session_id)
        return pending.number if pending is not None else proposals.next_number(session_id)

    def _running(self) -> Mapping[str, object]:
        progress = self._session.progress
        known: dict[str, object] = {"status": "running", "next": "call run_experiment again to wait on"}
        if progress is not None:
            known |= {"stage": progress.stage, "progress": round(progress.progress, 3)}
            known |= {"loss": round(progress.loss, 4), "experiment": progress.experiment_id}
        return known


_: type[Bench] = ManualBench
