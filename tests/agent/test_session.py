"""A session from an empty folder to its end, with a real trainer daemon."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from agent.lab.results_table import read_results
from agent.ledger.records import SessionState, StopReason
from agent.session.sessions import Sessions
from agent.verdict import Verdict
from tests.agent.conftest import MUCH_BETTER, MUCH_WORSE, run_to_end, scripted


async def test_a_session_keeps_what_is_better_and_discards_what_is_worse(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(
        {"description": "many better values", "changes": MUCH_BETTER},
        {"description": "far too slow", "changes": MUCH_WORSE},
        {"description": "not Python", "source": "this is not python ="},
    )
    session = await run_to_end(sessions, scripted(lab, script))
    assert (session.record.state, session.record.stop_reason) == (
        SessionState.STOPPED,
        StopReason.PROPOSER_DONE,
    ), session.record.stop_detail
    proposals = session.ledger.proposals.all(session.session_id)
    verdicts = [item.verdict for item in proposals]
    assert verdicts == [Verdict.BASELINE, Verdict.KEEP, Verdict.DISCARD, Verdict.CRASH], [
        item.reason for item in proposals
    ]
    rows = read_results((lab / "results.tsv").read_text())
    assert [row.status for row in rows] == ["keep", "keep", "discard", "crash"]
    log = git(lab, "log", "--format=%s", "autoresearch/lab").splitlines()
    assert log == ["many better values", "Template, preset cpu"]
    assert git(lab, "status", "--porcelain") == ""
    assert git(lab, "rev-parse", "HEAD") == proposals[1].commit == session.record.tip_commit
    assert "DEPTH = 5" in (lab / "train.py").read_text()
    assert rows[2].commit == rows[1].commit == proposals[1].commit[:7]
    assert rows[3].val_bpb == 0.0
    assert "SYNTAX_ERROR" in rows[3].description
    card = json.loads((lab / "best" / "champion.json").read_text())
    assert (card["commit"], card["proposal"]) == (proposals[1].commit, 1)
    assert (lab / "best" / "train.py").read_text() == (lab / "train.py").read_text()
    assert (lab / "progress.png").read_bytes().startswith(b"\x89PNG")
    assert not list((lab / ".autoresearch" / "worktrees").iterdir())
    events = session.ledger.events(session.session_id, 0)
    told = [str(event.payload["text"]) for event in events if event.kind == "message"]
    assert sum(text.startswith("2 more runs of the unchanged train.py measure") for text in told) == 1


def git(lab: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(lab), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
