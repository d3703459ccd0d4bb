"""`history` and `report` from the ledger's file, while nothing runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent.cli.options import data_folder
from agent.cli.remembered_flags import remember_flags
from agent.lab.workspace import make_lab
from agent.ledger.ledger import LEDGER_NAME, Ledger
from agent.ledger.records import (
    ProposalRecord,
    ProposalState,
    RunKind,
    RunRecord,
    SessionRecord,
    SessionState,
    Setup,
)
from agent.verdict import Verdict
from tests.agent.cli.command import run_command


def write_lab(lab: Path, tag: str = "lab") -> None:
    """A lab as a session leaves it: a repository with one keep, and its ledger."""
    template = {"train.py": "DEPTH = 4\n"}
    workspace = make_lab(lab, tag, template, "cpu")
    root = workspace.tip()
    kept_commit = workspace.commit(1, root, "DEPTH = 5\n", "deeper", 1_800_000_000.0)
    workspace.close()
    ledger = Ledger(lab / ".autoresearch" / LEDGER_NAME, clock=time.time)
    setup = Setup("cpu", "tokens", 200_704.0, device_class="cpu")
    ledger.add_session(
        SessionRecord(
            "s1",
            tag,
            SessionState.STOPPED,
            "search",
            "",
            setup,
            1_800_000_000.0,
            1_800_000_000.0,
            ended_at=1_800_003_600.0,
            active_seconds=3600.0,
            noise_sigma=0.004,
            entropy_source="os",
        )
    )
    for number, verdict, difference in ((0, Verdict.BASELINE, None), (1, Verdict.KEEP, -0.05)):
        ledger.put_proposal(
            ProposalRecord(
                "s1",
                number,
                "deeper" if number else "baseline",
                ProposalState.RECORDED,
                "h",
                root,
                "h",
                "d",
                1_800_000_000.0,
                verdict=verdict,
                reason="better" if number else "measured",
                val_bpb=1.6 - 0.05 * number,
                commit=kept_commit if number else root,
                difference=difference,
                difference_error=0.005 if number else None,
            )
        )
    run = RunRecord(
        "s1-p1-c0",
        "s1",
        1,
        RunKind.CANDIDATE,
        0,
        0,
        7,
        0,
        "h",
        1_800_000_000.0,
        ended=True,
        val_bpb=1.55,
        seconds=12.5,
    )
    with ledger.transaction():
        ledger.runs.put(run)
    ledger.close()


async def test_the_ledger_is_read_without_daemons(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    write_lab(lab)
    history = await run_command("history", "--lab", str(lab), "--json")
    value = json.loads(history.out)
    assert value["session"]["noise_sigma"] == 0.004
    assert [proposal["verdict"] for proposal in value["proposals"]] == ["baseline", "keep"]
    assert value["proposals"][1]["runs"][0]["seconds"] == 12.5
    last = await run_command("history", "--lab", str(lab), "--last", "1")
    assert "Kept: 1 of 1 proposals" in last.out
    assert "baseline   1.6" not in last.out
    report = await run_command("report", "--lab", str(lab))
    assert "+DEPTH = 5" in report.out
    assert "Cost: 1.0 hours" in report.out
    assert len(report.lines) <= 60


async def test_another_tag_is_named_with_those_that_are(tmp_path: Path) -> None:
    write_lab(tmp_path / "lab", "nov28")
    result = await run_command("history", "--lab", str(tmp_path / "lab"))
    assert result.code == 3
    assert "no session 'lab'; its tags: nov28" in result.err


async def test_a_sample_without_a_champion_is_refused(tmp_path: Path) -> None:
    write_lab(tmp_path / "lab")
    result = await run_command("sample", "--lab", str(tmp_path / "lab"))
    assert result.code == 3
    assert "has no best model yet" in result.err


async def test_inside_a_lab_the_lab_is_that_folder(tmp_path: Path) -> None:
    """As `program.md`, which lies there, writes its commands."""
    write_lab(tmp_path / "my lab")
    history = await run_command("history", cwd=tmp_path / "my lab")
    assert history.code == 0, history.err
    assert f"history --lab '{tmp_path / 'my lab'}'" in history.out
    outside = await run_command("history", cwd=tmp_path)
    assert outside.code == 3, "elsewhere it is the folder lab, as ever"
    assert "lab has no ledger" in outside.err


def test_data_are_those_of_the_last_run_in_whatever_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, data = tmp_path / "lab", tmp_path / "my data"
    (lab / ".autoresearch").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert data_folder(None, "lab") == tmp_path / "data"
    remember_flags(lab / ".autoresearch", "lab", f" --unsafe --data '{data}'")
    assert data_folder(None, "lab") == tmp_path / "data", "that folder is not there any more"
    data.mkdir()
    assert data_folder(None, "lab") == data
    assert data_folder(Path("other"), "lab") == tmp_path / "other"
