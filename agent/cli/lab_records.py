"""A lab's sessions and proposals: from its running agentd, else from the ledger's file, read-only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch.agent.v1 import agent_pb2 as pb

from agent.cli.same_command import command
from services.agent_client import AgentClient
from services.errors import NotFoundError

if TYPE_CHECKING:
    from agent.ledger.ledger import Ledger


@contextmanager
def open_ledger(lab: Path) -> Iterator[Ledger]:
    """The lab's ledger, read-only. Raises NotFoundError (LAB_NOT_FOUND) where there is none."""
    from agent.ledger.ledger import LEDGER_NAME, Ledger

    path = lab / ".autoresearch" / LEDGER_NAME
    if not path.is_file():
        raise NotFoundError(
            f"--lab: {lab} has no ledger; `{command('run', lab)}` makes a lab", reason="LAB_NOT_FOUND"
        )
    ledger = Ledger(path, clock=time.time, read_only=True, may_be_new=not (lab / ".git").exists())
    try:
        yield ledger
    finally:
        ledger.close()


def read_lab(lab: Path, tag: str) -> tuple[pb.Session, list[pb.Proposal]]:
    """The session of a tag and its proposals, oldest first, as the ledger has them now.

    Raises NotFoundError: LAB_NOT_FOUND, SESSION_NOT_FOUND.
    """
    from agent.llm.messages import proposal_message, session_message

    with open_ledger(lab) as ledger:
        record = ledger.find_session(tag)
        if record is None:
            known = ", ".join(session.tag for session in ledger.sessions()) or "none"
            raise NotFoundError(
                f"--tag: the lab {lab} has no session {tag!r}; its tags: {known}", reason="SESSION_NOT_FOUND"
            )
        session = session_message(record, ledger.totals(record.session_id), str(lab))
        proposals = [
            proposal_message(proposal, ledger.runs.of_proposal(record.session_id, proposal.number))
            for proposal in ledger.proposals.all(record.session_id)
        ]
    return session, proposals


async def fetch_lab(client: AgentClient, lab: str, tag: str) -> tuple[pb.Session, list[pb.Proposal]]:
    """The same from an agentd. Raises NotFoundError (SESSION_NOT_FOUND)."""
    from agent.cli.follow import list_all_proposals
    from agent.cli.lab_daemons import find_session

    session = await find_session(client, lab, tag)
    if session is None:
        raise NotFoundError(f"this agent knows no session {tag!r} of {lab}", reason="SESSION_NOT_FOUND")
    return session, await list_all_proposals(client, session.session_id)


def lab_preset(lab: Path) -> str:
    """The preset that the lab was made with; "" where nothing is recorded yet."""
    try:
        with open_ledger(lab) as ledger:
            sessions = ledger.sessions()
    except NotFoundError:
        return ""
    return sessions[0].setup.preset if sessions else ""
