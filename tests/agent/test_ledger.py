"""The ledger on a real disk: versions, exactly-once, resumable events, clear errors."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from agent.ledger.ledger import Ledger
from agent.ledger.memories import PendingMemory
from agent.ledger.records import (
    ProposalRecord,
    ProposalState,
    RunKind,
    RunRecord,
    SeedRecord,
    SessionRecord,
    SessionState,
    Setup,
    StopReason,
)
from agent.provider import Usage
from agent.verdict import Verdict
from services.errors import DataLossError, FailedPreconditionError, InternalError, NotFoundError

SESSION = SessionRecord(
    "lab-1", "lab", SessionState.STARTING, "search", "", Setup("cpu", "tokens", 1e5), 1, 1
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger.db", clock=lambda: 100.0)
    made.add_session(SESSION)
    return made


def proposal(number: int, **fields: object) -> ProposalRecord:
    made = ProposalRecord("lab-1", number, f"idea {number}", ProposalState.PROPOSED, "s", "p", "ps", "d", 2.0)
    return replace(made, **fields)  # type: ignore[arg-type]


def run(attempt: int = 0, **fields: object) -> RunRecord:
    name = f"lab-1-p1-c0r{attempt}"
    made = RunRecord(name, "lab-1", 1, RunKind.CANDIDATE, 0, attempt, 42, 0, "s", 3.0)
    return replace(made, **fields)  # type: ignore[arg-type]


def test_what_was_written_is_read_back_by_another_opening(ledger: Ledger, tmp_path: Path) -> None:
    written = proposal(
        1,
        changes={"DEPTH": 5, "ADAM_BETAS": [0.8, 0.9]},
        verdict=Verdict.KEEP,
        differences=(-0.1, -0.2),
        difference=-0.15,
        description='tab\tquote"ü',
    )
    ledger.put_proposal(written)
    ledger.runs.put(run(ended=True, val_bpb=1.5))
    reader = Ledger(tmp_path / "ledger.db", clock=lambda: 0.0, read_only=True)
    assert reader.proposals.find("lab-1", 1) == written
    assert reader.runs.of_proposal("lab-1", 1) == [run(ended=True, val_bpb=1.5)]
    assert reader.session("lab-1") == SESSION
    with pytest.raises(FailedPreconditionError) as caught:
        reader.say("lab-1", "no")
    assert caught.value.reason == "LAB_READ_ONLY"


def test_a_place_holds_one_result_that_counts(ledger: Ledger) -> None:
    ledger.runs.put(run(0, ended=True, void="INTERRUPTED"))
    ledger.runs.put(run(1, ended=True, val_bpb=1.5))
    with pytest.raises(InternalError):
        ledger.runs.put(run(2, ended=True, val_bpb=1.4))
    assert [item.attempt for item in ledger.runs.of_proposal("lab-1", 1)] == [0, 1]


def test_a_step_is_written_whole_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        ledger.put_proposal(proposal(1))
        ledger.update_session("lab-1", state=SessionState.RUNNING)
        _ = 1 / 0
    assert ledger.proposals.all("lab-1") == []
    assert ledger.session("lab-1").state is SessionState.STARTING
    assert [event.kind for event in ledger.events("lab-1", 0)] == ["session"]


def test_events_are_numbered_and_can_be_read_on_from_any(ledger: Ledger) -> None:
    ledger.put_proposal(proposal(1))
    ledger.say("lab-1", "hello")
    ledger.update_session("lab-1", active_seconds=5.0)
    events = ledger.events("lab-1", 0)
    assert [event.kind for event in events] == ["session", "proposal", "message"]
    assert ledger.events("lab-1", events[1].sequence) == events[2:]
    assert ledger.last_sequence("lab-1") == events[-1].sequence


async def test_a_watcher_wakes_when_something_was_written(ledger: Ledger) -> None:
    changed = ledger.next_change()
    assert not changed.is_set()
    ledger.say("lab-1", "hello")
    await asyncio.wait_for(changed.wait(), 1)


def test_texts_are_stored_once_by_their_hash(ledger: Ledger) -> None:
    first = ledger.put_text("source", "A = 1\n")
    assert ledger.put_text("source", "A = 1\n") == first
    assert ledger.text(first) == "A = 1\n"
    with pytest.raises(NotFoundError):
        ledger.text("0" * 64)


def test_totals_count_what_the_rows_say(ledger: Ledger) -> None:
    recorded = {"state": ProposalState.RECORDED}
    ledger.put_proposal(proposal(0, verdict=Verdict.BASELINE, val_bpb=1.9, **recorded))
    ledger.put_proposal(proposal(1, verdict=Verdict.KEEP, val_bpb=1.8, **recorded))
    ledger.put_proposal(proposal(2, verdict=Verdict.DISCARD, val_bpb=1.7, **recorded))
    ledger.put_proposal(proposal(3))
    ledger.runs.put(run(ended=True, val_bpb=1.8, seconds=12.5))
    ledger.runs.put(run(1, ended=True, void="INTERRUPTED", seconds=2.0))
    ledger.runs.put(run(2))
    spend = ledger.money.ask("lab-1", 1, "m", Usage(input_tokens=1000, output_tokens=8000), 0.5, 1.0)
    assert ledger.totals("lab-1").cost_usd == 0.5, "a call whose answer is unknown counts with its bound"
    ledger.money.settle(spend, Usage(input_tokens=900, output_tokens=10, cached_input_tokens=5), 0.02)
    totals = ledger.totals("lab-1")
    assert (totals.proposals, totals.kept, totals.runs, totals.device_seconds) == (3, 1, 1, 14.5)
    assert (totals.baseline_val_bpb, totals.best_val_bpb) == (1.9, 1.8)
    assert (totals.cost_usd, totals.input_tokens, totals.output_tokens) == (0.02, 905, 10)
    unfinished = ledger.proposals.unfinished("lab-1")
    assert unfinished is not None
    assert unfinished.number == 3


def test_memories_wait_until_they_are_marked_sent(ledger: Ledger) -> None:
    memory = PendingMemory("key", "text", {"kind": "experiment"}, 0.5)
    ledger.memories.add("lab-1", memory)
    ledger.memories.add("lab-1", memory)
    assert ledger.memories.waiting("lab-1") == [memory]
    ledger.memories.mark_sent("key")
    assert ledger.memories.waiting("lab-1") == []


def test_a_seed_of_a_pack_is_used_once(ledger: Ledger) -> None:
    ledger.runs.put_seed("lab-1", SeedRecord(0, 7, "pack", 0, "os", "{}"))
    with pytest.raises(InternalError):
        ledger.runs.put_seed("lab-1", SeedRecord(1, 8, "pack", 0, "os", "{}"))
    assert ledger.runs.seed("lab-1", 0) == SeedRecord(0, 7, "pack", 0, "os", "{}")
    assert ledger.runs.seeds_of_pack("lab-1", "pack") == 1


def test_a_ledger_of_a_newer_version_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    ledger.close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(FailedPreconditionError) as caught:
        Ledger(tmp_path / "ledger.db", clock=lambda: 0.0)
    assert caught.value.reason == "LEDGER_TOO_NEW"


def test_a_damaged_ledger_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is no database, and long enough to be read as one" * 100)
    with pytest.raises(DataLossError) as caught:
        Ledger(tmp_path / "ledger.db", clock=lambda: 0.0)
    assert caught.value.reason == "LEDGER_CORRUPT"


def test_a_stop_reason_can_be_read_back_for_every_name(ledger: Ledger) -> None:
    for reason in StopReason:
        ledger.update_session("lab-1", stop_reason=reason)
        assert ledger.session("lab-1").stop_reason is reason


KILLED = """
import os, signal, sys
from pathlib import Path
from agent.ledger.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), clock=lambda: 0.0)
for number in range(1, 100000):
    with ledger.transaction():
        ledger.say("lab-1", f"message {number}")
    print(number, flush=True)
    if number == 20:
        with ledger.transaction():
            ledger.say("lab-1", "half")
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_nine_loses_nothing_that_was_acknowledged(ledger: Ledger, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "ledger.db")], capture_output=True, text=True
    )
    acknowledged = [int(line) for line in done.stdout.split()]
    texts = [event.payload["text"] for event in ledger.events("lab-1", 0) if event.kind == "message"]
    assert texts == [f"message {number}" for number in acknowledged] == [f"message {n}" for n in range(1, 21)]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("sessions", "fields", "no JSON"),
        ("proposals", "fields", '{"number": 1}'),
        ("runs", "fields", "{}"),
        ("events", "payload", "x"),
        ("blobs", "data", b"\x00\xff"),
        ("blobs", "data", zlib.compress(b"another")),
    ],
)
def test_a_row_that_is_not_what_was_written_is_named_as_damage(
    ledger: Ledger, tmp_path: Path, table: str, column: str, value: object
) -> None:
    ledger.put_proposal(proposal(1))
    ledger.runs.put(run())
    digest = ledger.put_text("source", "a text")
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute(f"UPDATE {table} SET {column}=?", (value,))
    connection.close()
    with pytest.raises(DataLossError, match=r"ledger\.db is damaged \(a row holds .*restore it") as caught:
        ledger.session("lab-1")
        ledger.proposals.all("lab-1")
        ledger.runs.of_proposal("lab-1", 1)
        ledger.events("lab-1", 0)
        ledger.text(digest)
    assert caught.value.reason == "LEDGER_CORRUPT"
