"""The system's clock is set back an hour and forward a day while a session runs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.lab.workspace import make_lab
from agent.ledger.records import StopReason
from agent.llm.messages import session_message
from agent.providers.faults import retry_hint
from agent.report import report_lines
from agent.session.session import Session
from agent.session.sessions import Sessions
from agent.settings import ProviderKeys
from tests.agent.conftest import MUCH_BETTER, run_to_end, scripted

STILL_BETTER = {"MATRIX_LR": 0.03, "EMBEDDING_LR": 0.5, "UNEMBEDDING_LR": 0.009}
HOUR, DAY = 3600.0, 86400.0


class Clock:
    """The system's clock plus `offset`, which takes the next of `jumps` after each `every` readings."""

    def __init__(self, *jumps: float, every: int = 12) -> None:
        self.offset, self.readings = 0.0, 0
        self.jumps, self.every = list(jumps), every

    def __call__(self) -> float:
        self.readings += 1
        if self.readings % self.every == 0 and self.jumps:
            self.offset += self.jumps.pop(0)
        return time.time() + self.offset


def report_of(session: Session, lab: Path) -> str:
    totals = session.ledger.totals(session.session_id)
    return "\n".join(report_lines(session_message(session.record, totals, str(lab)), []))


@pytest.mark.long
async def test_limits_and_the_report_do_not_follow_the_clock(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    clock = Clock(-HOUR, DAY, -3 * DAY, DAY)
    jumping = Sessions(sessions._peers, ProviderKeys(), address=lambda: "127.0.0.1:1", clock=clock)
    drafts = [{"changes": MUCH_BETTER}, {"changes": STILL_BETTER}, {"changes": {"MATRIX_LR": 0.0004}}]
    script = write_script(*drafts)
    began = time.monotonic()
    first = await run_to_end(jumping, scripted(lab, script, max_experiments=1, max_hours=0.5))
    assert first.record.stop_reason is StopReason.EXPERIMENT_LIMIT, first.record.stop_detail
    early = first.record.active_seconds
    session = await run_to_end(jumping, scripted(lab, script, max_experiments=3))
    most = time.monotonic() - began
    assert clock.jumps == [], "the clock has jumped each time"
    assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail
    assert 0 < early < session.record.active_seconds <= most
    found = re.search(r"Cost: (-?[\d.]+) (minutes|hours)", report_of(session, lab))
    assert found is not None
    assert found.groups() == (f"{session.record.active_seconds / 60:.1f}", "minutes"), "of both starts"
    kept = [item for item in session.ledger.proposals.all(session.session_id) if item.is_commit]
    assert kept
    subjects = subprocess.run(
        ["git", "-C", str(lab), "rev-list", "--topo-order", "autoresearch/lab"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert subjects[:-1] == [item.commit for item in reversed(kept)]
    await jumping.close()
    jumping.close_ledgers()


def test_a_keep_is_found_on_the_branch_whatever_the_clock_said_of_later_commits(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as wrong:
        wrong.setenv("GIT_COMMITTER_DATE", "@4000000000 +0000")
        workspace = make_lab(lab, "lab", {"train.py": "DEPTH = 4\n"}, "cpu")
    root = workspace.tip()
    made = workspace.commit(1, root, "DEPTH = 5\n", "deeper", 4_000_000_000.0)
    for number in range(8):  # a person's own, after the clock was set right
        (lab / "train.py").write_text(f"DEPTH = 5\n# {number}\n")
        subprocess.run(["git", "-C", str(lab), "commit", "-qam", f"note {number}"], check=True)
    tip = workspace.tip()
    assert workspace.commit(1, root, "DEPTH = 5\n", "deeper", 4_000_000_000.0) == made
    assert workspace.tip() == tip
    workspace.close()


def test_a_date_to_wait_for_is_read_against_the_servers_own_clock() -> None:
    headers = {"Retry-After": "Sun, 29 Nov 2026 12:00:30 GMT", "Date": "Sun, 29 Nov 2026 12:00:00 GMT"}
    for now in (0.0, 1_795_953_600.0, 4e9):
        assert retry_hint(headers, "", now) == 30.0
