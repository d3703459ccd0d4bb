"""The bench of a language model in the loop: the draft lies in memory, running it ends the turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from agent.lab.memory import LabMemory
from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, SessionRecord
from agent.search.sections import check_source
from agent.session.drafting import Drafting
from agent.tools.bench import Bench
from agent.tools.outcome import last_lines
from agent.verdict import Verdict
from services.errors import FailedPreconditionError, InvalidArgumentError


class LlmBench:
    """`wanted` holds the description once run_experiment was called on a draft that may run."""

    def __init__(self, ledger: Ledger, session_id: str, drafting: Drafting, memory: LabMemory) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._drafting = drafting
        self._memory = memory
        self._draft: str | None = None
        self.place = ""
        self.wanted: str | None = None

    def reset(self) -> None:
        """Back to the incumbent, for the next idea."""
        self._draft, self.wanted = None, None

    def last_lines(self, number: int) -> Mapping[str, object]:
        """The end of the log of proposal `number` where it crashed."""
        proposal = self._ledger.proposals.find(self._session_id, number)
        return last_lines(self._ledger, proposal) if proposal is not None else {}

    def draft(self) -> str:
        return self._draft if self._draft is not None else self.incumbent()

    def replace_draft(self, source: str) -> None:
        self._draft = source

    def session(self) -> SessionRecord:
        return self._ledger.session(self._session_id)

    def proposals(self) -> Sequence[ProposalRecord]:
        return self._ledger.proposals.all(self._session_id)

    def incumbent(self) -> str:
        return self._ledger.text(self.session().tip_source_hash)

    async def run(self, description: str, wait_seconds: float) -> Mapping[str, object]:
        draft = self.draft()
        check_source(draft)
        if draft == self.incumbent():
            raise InvalidArgumentError("the draft is the incumbent: change it first", field="draft")
        repeat = self._drafting.find_repeat(draft)
        if repeat is not None:
            raise FailedPreconditionError(
                f"the draft repeats proposal {repeat.number}: {repeat.how}. Try something else",
                reason="REPEAT",
            )
        self.wanted = description
        return {"status": "running"}

    async def decide(self, keep: bool, note: str) -> Mapping[str, object]:
        if not keep and self._draft is not None:
            self.reset()
            return {"draft": "the incumbent"}
        last = self._last()
        if last is None:
            raise FailedPreconditionError("nothing was judged yet: call run_experiment first")
        if keep and not last.is_commit:
            name = (last.verdict or Verdict.DISCARD).name
            raise FailedPreconditionError(
                f"the judge says {name}: {last.reason}. Only KEEP and EQUIVALENT become commits"
            )
        if not keep and last.is_commit:
            raise FailedPreconditionError(
                f"proposal {last.number} was kept by the judge as {last.commit[:7]}"
            )
        return {"number": last.number, "kept": last.is_commit, "commit": last.commit[:7]}

    async def recollect(self, text: str, store: bool, limit: int) -> Sequence[str]:
        if not store:
            return await self._memory.recall(text, limit)
        key = f"{self._session_id}-note-{sha256(text.encode()).hexdigest()[:16]}"
        self._memory.remember(key, text, {"kind": "insight", "session": self._session_id}, 0.8)
        await self._memory.deliver()
        return []

    def _last(self) -> ProposalRecord | None:
        made = [item for item in self.proposals() if item.number > 0]
        return made[-1] if made else None


_: type[Bench] = LlmBench
