"""The seam under the tools: the bench that a draft of train.py lies on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.ledger.records import ProposalRecord, SessionRecord


class Bench(Protocol):
    """A draft, the ledger behind it, and what may be done. Implementations: agent/tools/manual_bench.py
    (by hand) and agent/llm/bench.py (in the loop).

    All methods raise ServiceError with a message for the caller. `run` answers what is known of the
    experiment after at most `wait_seconds`; `keep` and `discard` act on the experiment that was judged last,
    and `keep` raises FailedPreconditionError unless the judge said KEEP or EQUIVALENT. `place` is the path of
    the draft's file where there is one, else empty.
    """

    place: str

    def draft(self) -> str: ...

    def replace_draft(self, source: str) -> None: ...

    def session(self) -> SessionRecord: ...

    def proposals(self) -> Sequence[ProposalRecord]: ...

    def incumbent(self) -> str: ...

    async def run(self, description: str, wait_seconds: float) -> Mapping[str, object]: ...

    async def decide(self, keep: bool, note: str) -> Mapping[str, object]: ...

    async def recollect(self, text: str, store: bool, limit: int) -> Sequence[str]: ...
