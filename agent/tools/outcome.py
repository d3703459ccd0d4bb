"""What a caller learns of an experiment: numbers and the judge's words, and of a crash its last lines."""

from __future__ import annotations

from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord
from agent.tools.answer import as_data, shorten
from agent.verdict import Verdict

LOG_LINES = 12
LOG_BYTES = 1200


def describe_outcome(proposal: ProposalRecord) -> dict[str, object]:
    """The verdict of a judged proposal with its numbers."""
    outcome: dict[str, object] = {
        "status": "judged",
        "number": proposal.number,
        "verdict": verdict_name(proposal),
        "reason": shorten(proposal.reason, 600),
    }
    if proposal.val_bpb is not None:
        outcome["val_bpb"] = round(proposal.val_bpb, 6)
    if proposal.difference is not None:
        outcome["difference"] = round(proposal.difference, 6)
        outcome["standard_error"] = round(proposal.difference_error or 0.0, 6)
    outcome["next"] = "keep or discard" if proposal.is_commit else "discard"
    return outcome


def last_lines(ledger: Ledger, proposal: ProposalRecord) -> dict[str, object]:
    """The end of the log of a run that crashed, marked as data; nothing for any other verdict."""
    if proposal.verdict is not Verdict.CRASH:
        return {}
    runs = [run for run in ledger.runs.of_proposal(proposal.session_id, proposal.number) if run.log_hash]
    if not runs:
        return {}
    lines = ledger.text(runs[-1].log_hash).splitlines()[-LOG_LINES:]
    while len(lines) > 1 and len("\n".join(lines).encode()) > LOG_BYTES:
        lines.pop(0)
    return {"log": as_data(shorten("\n".join(lines), LOG_BYTES))}


def verdict_name(proposal: ProposalRecord) -> str:
    return (proposal.verdict or Verdict.DISCARD).name
