"""A ledger that is empty or gone beside a repository that holds results: never begun anew without a word."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.ledger.ledger import LEDGER_NAME, Ledger
from agent.ledger.records import StopReason
from agent.session.sessions import Sessions
from agent.settings import ProviderKeys
from services.errors import DataLossError
from tests.agent.cli.command import run_command
from tests.agent.cli.test_history import write_lab
from tests.agent.conftest import MUCH_BETTER, run_to_end, scripted
from tests.agent.test_bad_days import said


def empty(path: Path) -> None:
    path.write_bytes(b"")


def only_a_header(path: Path) -> None:
    """What a crash between the file's first page and its tables leaves."""
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


@pytest.mark.parametrize("damage", [empty, only_a_header])
async def test_an_empty_ledger_beside_results_is_damage(
    sessions: Sessions, tmp_path: Path, write_script: Callable[..., str], damage: Callable[[Path], None]
) -> None:
    lab = tmp_path / "lab"
    write_lab(lab)
    ledger = lab / ".autoresearch" / LEDGER_NAME
    damage(ledger)
    before = ledger.read_bytes()
    with pytest.raises(DataLossError, match=r"is damaged \(it is empty\): restore it from a copy") as caught:
        await sessions.start(scripted(lab, write_script({"changes": MUCH_BETTER})))
    assert caught.value.reason == "LEDGER_CORRUPT"
    assert ledger.read_bytes() == before
    for command in ("history", "report"):
        told = await run_command(command, "--lab", str(lab))
        assert "is damaged (it is empty)" in told.err
        assert told.code == 3


@pytest.mark.parametrize("damage", [empty, pytest.param(only_a_header, marks=pytest.mark.long)])
async def test_a_crash_while_a_new_lab_was_made_leaves_nothing_in_the_way(
    sessions: Sessions, lab: Path, write_script: Callable[..., str], damage: Callable[[Path], None]
) -> None:
    (lab / ".autoresearch").mkdir(parents=True)
    ledger = lab / ".autoresearch" / LEDGER_NAME
    empty(ledger)
    damage(ledger)
    session = await run_to_end(sessions, scripted(lab, write_script({"changes": MUCH_BETTER})))
    assert session.record.stop_reason is StopReason.PROPOSER_DONE, session.record.stop_detail
    assert not any("the ledger is new" in text for text in said(session))


async def test_a_ledger_that_was_moved_away_begins_anew_and_the_session_says_what_is_missing(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script({"changes": MUCH_BETTER})
    earlier = Sessions(sessions._peers, ProviderKeys(), address=lambda: "127.0.0.1:1")
    first = await run_to_end(earlier, scripted(lab, script, max_experiments=1))
    tip = first.record.tip_commit
    await earlier.close()
    earlier.close_ledgers()
    table = (lab / "results.tsv").read_text()
    for path in (lab / ".autoresearch").glob(f"{LEDGER_NAME}*"):
        path.rename(lab.with_name(path.name))
    again = await run_to_end(sessions, scripted(lab, script, max_experiments=1))
    told = [text for text in said(again) if "the ledger is new" in text]
    assert len(told) == 1
    assert tip[:7] in told[0]
    kept = lab / ".autoresearch" / f"results-before-{again.ledger.lab_id}.tsv"
    assert kept.name in told[0]
    assert kept.read_text() == table
    assert again.record.stop_reason is StopReason.EXPERIMENT_LIMIT, again.record.stop_detail


def test_a_ledger_that_may_not_be_new_is_opened_where_it_is_whole(tmp_path: Path) -> None:
    write_lab(tmp_path / "lab")
    ledger = Ledger(tmp_path / "lab" / ".autoresearch" / LEDGER_NAME, clock=time.time, may_be_new=False)
    assert ledger.find_session("lab") is not None
    ledger.close()
