"""What the lab remembers through memoryd: optional, never in the way of an experiment.

Every memory is written to the ledger's outbox first, and delivered when memoryd can be reached.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from agent.ledger.ledger import Ledger
from agent.ledger.memories import PendingMemory
from agent.ledger.records import ProposalRecord, SessionRecord
from services.errors import InvalidArgumentError, ServiceError
from services.memory_client import MemoryClient

log = logging.getLogger(__name__)


class LabMemory:
    """Recall and remember for one session. `warn` is told once for each time that memoryd goes away."""

    def __init__(
        self, ledger: Ledger, session_id: str, client: MemoryClient | None, *, warn: Callable[[str], None]
    ) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._client = client
        self._warn = warn
        self._reachable = True

    @property
    def present(self) -> bool:
        """Whether a memory service was named at all."""
        return self._client is not None

    async def recall(self, text: str, limit: int = 5) -> list[str]:
        """Texts nearest to `text`, best first; none when memoryd cannot be reached."""
        if self._client is None or not text.strip():
            return []
        try:
            found = await self._client.recall(text, limit=limit)
        except ServiceError as error:
            self._lost(error)
            return []
        self._reachable = True
        return [recalled.memory.text for recalled in found]

    def remember(self, key: str, text: str, tags: Mapping[str, str], importance: float = 0.0) -> None:
        """Queues a memory; the same key once only. `deliver` sends it."""
        self._ledger.memories.add(self._session_id, PendingMemory(key, text, tags, importance))

    async def deliver(self) -> int:
        """Sends what waits; returns how many arrived. Stops at the first that does not."""
        sent = 0
        if self._client is None:
            return sent
        for memory in self._ledger.memories.waiting(self._session_id):
            try:
                await self._client.remember(
                    memory.text, tags=memory.tags, idempotency_key=memory.key, importance=memory.importance
                )
            except InvalidArgumentError as error:
                # It would be refused for ever and keep all later ones back.
                log.warning("a memory was refused", extra={"key": memory.key, "why": error.message})
            except ServiceError as error:
                self._lost(error)
                return sent
            self._ledger.memories.mark_sent(memory.key)
            self._reachable = True
            sent += 1
        return sent

    def _lost(self, error: ServiceError) -> None:
        if self._reachable:
            self._warn(f"memory is not reachable ({error.message}): the session goes on, memories are kept")
        self._reachable = False


def describe_proposal(session: SessionRecord, proposal: ProposalRecord) -> tuple[str, dict[str, str]]:
    """Text and tags under which a finished proposal is remembered."""
    verdict = proposal.verdict.value if proposal.verdict else "unknown"
    change = ", ".join(f"{name}={value}" for name, value in proposal.changes.items())
    parts = [f"Experiment {proposal.proposal_id}: {proposal.description}."]
    if change:
        parts.append(f"Changed {change}.")
    parts.append(f"Verdict {verdict}: {proposal.reason}.")
    if proposal.val_bpb is not None:
        parts.append(f"val_bpb {proposal.val_bpb:.6f} on {session.setup.device_class or 'unknown device'}")
        parts[-1] += f", preset {session.setup.preset}."
    tags = {
        "kind": "experiment",
        "session": session.session_id,
        "tag": session.tag,
        "number": str(proposal.number),
        "verdict": verdict,
        "diff_hash": proposal.diff_hash[:16],
    }
    return " ".join(parts), tags
