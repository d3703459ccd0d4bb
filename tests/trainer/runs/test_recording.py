"""The record of a run: frames, who wrote it, and the supervisor that writes it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.experiment import Budget
from trainer.runs.events import TrainingRecord
from trainer.runs.piped import PipedProcess
from trainer.runs.recorded import RecordedProcess, ending_of
from trainer.runs.rules import TimeRules
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan
from trainer.sandbox.plan import Limits, Plan, Recording, parse_plan
from trainer.sandbox.recording import (
    BEGIN,
    END,
    EVENTS,
    EVENTS_FD,
    KINDS,
    STDERR,
    STDOUT,
    Frame,
    Identity,
    identify,
    parse_frames,
    parse_identity,
    read_identity,
    write_owner,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
FRAMES = st.builds(
    Frame, st.sampled_from(KINDS), st.integers(0, 10**9).map(float), st.just(1.5), st.binary(max_size=300)
)


@given(st.lists(FRAMES, max_size=8), st.integers(0, 3000))
def test_frames_come_back_from_any_cut(frames: list[Frame], cut: int) -> None:
    data = b"".join(frame.to_bytes() for frame in frames)
    first, taken = parse_frames(data[:cut])
    rest, _ = parse_frames(data[taken:])
    assert first + rest == frames


@pytest.mark.parametrize("data", [b"x" * 200, b"begin 1.0 2.0\n", b"other 1.0 2.0 3\nabc", b"end 1 2 x\n"])
def test_what_no_supervisor_wrote_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"damaged|kind|unpack|literal"):
        parse_frames(data)
    (tmp_path / "record").write_bytes(data)
    assert RecordedProcess.find(tmp_path / "record") is None
    assert RecordedProcess.find(tmp_path / "none") is None


@linux
def test_a_process_is_told_from_a_later_one_of_its_number(tmp_path: Path) -> None:
    own = identify(os.getpid())
    assert own is not None
    assert own.is_alive()
    assert parse_identity(str(own)) == own
    assert not replace(own, start="1").is_alive()
    assert not replace(own, boot="another").is_alive()
    assert identify(2**22 + 1) is None
    write_owner(str(tmp_path / "owner"))
    assert read_identity(str(tmp_path / "owner")) == own
    (tmp_path / "owner").write_text("1 2")
    assert read_identity(str(tmp_path / "owner")) is None
    assert read_identity(str(tmp_path / "none")) is None


@linux
def test_a_record_of_another_boot_is_nobodys(tmp_path: Path) -> None:
    identity = Identity(os.getpid(), "1", "another")
    (tmp_path / "record").write_bytes(Frame(BEGIN, 1.0, 0.0, str(identity).encode()).to_bytes())
    assert RecordedProcess.find(tmp_path / "record") is None


def recorded_plan(folder: Path, code: str, output_bytes: int = 1 << 20) -> Plan:
    (folder / "scratch").mkdir()
    write_owner(str(folder / "owner"))
    return candidate_plan(
        ["-c", code],
        CandidateFiles((), ()),
        tier="NONE",
        scratch=folder / "scratch",
        environment={},
        limits=Limits(wall_seconds=20.0),
        keep_fds=(EVENTS_FD,),
        recording=Recording(str(folder / "record"), str(folder / "owner"), 5.0, output_bytes),
    )


async def frames_of(plan: Plan, folder: Path) -> list[Frame]:
    process = RecordedProcess.start(plan, folder / "plan.json")
    frames = [frame async for frame in process.frames()]
    assert not process.is_alive
    return frames


def said(frames: list[Frame], kind: str) -> bytes:
    return b"".join(frame.data for frame in frames if frame.kind == kind)


@linux
async def test_all_three_streams_are_recorded_to_the_last_byte(tmp_path: Path) -> None:
    code = (
        f"import os\nos.write(1, b'out' * 50_000); os.write(2, b'err'); os.write({EVENTS_FD}, b'event')\n"
        "if os.fork() == 0:\n    os.setsid(); os.write(1, b'child')\n    import time; time.sleep(60)\n"
    )
    frames = await frames_of(recorded_plan(tmp_path, code), tmp_path)
    assert (frames[0].kind, frames[-1].kind) == (BEGIN, END)
    assert said(frames, STDOUT).replace(b"child", b"") == b"out" * 50_000
    assert (said(frames, STDERR), said(frames, EVENTS)) == (b"err", b"event")
    assert ending_of(frames[-1]).code == 0
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)


@linux
async def test_cpu_time_is_that_of_the_moment_at_which_training_began(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "def work(seconds):\n"
        "    while time.process_time() < seconds: pass\n"
        f'work(0.5); os.write({EVENTS_FD}, b\'{{"type": "start"}}\')\n'
        f"while b'start' not in open({str(tmp_path / 'record')!r}, 'rb').read(): time.sleep(0.01)\n"
        "work(1.0)\n"
    )
    frames = await frames_of(recorded_plan(tmp_path, code), tmp_path)
    began = next(frame for frame in frames if frame.kind == EVENTS)
    assert 0.4 <= began.cpu_seconds < 0.95


@linux
async def test_cpu_time_counts_where_a_process_takes_no_notice_of_its_children(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n"
        "    while time.process_time() < 0.5: pass\n"
        "    os._exit(0)\n"
        "try: os.wait()\n"
        "except ChildProcessError: pass\n"
        f'os.write({EVENTS_FD}, b\'{{"type": "start"}}\')\n'
    )
    frames = await frames_of(recorded_plan(tmp_path, code), tmp_path)
    began = next(frame for frame in frames if frame.kind == EVENTS)
    assert 0.25 <= began.cpu_seconds <= ending_of(frames[-1]).cpu_seconds


@linux
async def test_a_flood_ends_the_run_and_the_record_stays_small(tmp_path: Path) -> None:
    code = "while True: print('x' * 1000)"
    frames = await frames_of(recorded_plan(tmp_path, code, output_bytes=200_000), tmp_path)
    assert ending_of(frames[-1]).limit == "output"
    assert 200_000 < len(said(frames, STDOUT)) < 400_000


def test_a_plan_with_a_recording_survives_json() -> None:
    plan = Plan(("a",), {}, "/d", recording=Recording("r", "o", 60.0, 7))
    assert parse_plan(plan.to_json()) == plan


RULES = TimeRules(setup=10.0, finish=5.0, wall=200.0, setup_cpu=0.0)
BUDGET = Budget("time", 100.0)  # and so 115 s from start to end


@pytest.mark.parametrize(
    ("start", "end", "ended", "expected"),
    [
        (None, None, 9.0, ""),
        (None, None, 11.0, "setup"),
        (11.0, 50.0, 51.0, "setup"),
        (5.0, None, 119.0, ""),
        (5.0, None, 121.0, "training"),
        (5.0, 121.0, 122.0, "training"),
        (5.0, 100.0, 104.0, ""),
        (5.0, 100.0, 106.0, "finish"),
    ],
)
def test_a_phase_that_lasted_too_long_is_found_in_the_record(
    start: float | None, end: float | None, ended: float, expected: str
) -> None:
    record = TrainingRecord(start_time=start, end_time=end)
    assert RULES.overrun(0.0, record, ended, BUDGET) == expected


def test_each_phase_has_its_deadline() -> None:
    assert RULES.deadline(1.0, TrainingRecord(), BUDGET) == ("setup", 11.0)
    assert RULES.deadline(1.0, TrainingRecord(start_time=4.0), BUDGET) == ("training", 119.0)
    assert RULES.deadline(1.0, TrainingRecord(start_time=4.0, end_time=90.0), BUDGET) == ("finish", 95.0)


async def test_without_a_record_the_frames_come_from_pipes(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    events_fds = os.pipe()
    code = (
        f"import os\nos.write(1, b'out' * 50_000); os.write(2, b'err'); os.write({events_fds[1]}, b'event')\n"
        "raise SystemExit(7)"
    )
    plan = candidate_plan(
        ["-c", code],
        CandidateFiles((), ()),
        tier="NONE",
        scratch=tmp_path / "scratch",
        environment={},
        limits=Limits(wall_seconds=20.0),
        keep_fds=(events_fds[1],),
    )
    process = await PipedProcess.start(plan, tmp_path / "plan.json", events_fds)
    frames = [frame async for frame in process.frames()]
    assert said(frames, STDOUT) == b"out" * 50_000
    assert (said(frames, STDERR), said(frames, EVENTS)) == (b"err", b"event")
    assert ending_of(frames[-1]).code == 7
    await process.stop()
