"""What goes wrong around a session: peers away, disks read-only, files edited by hand, clocks that jump."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from autoresearch.agent.v1 import agent_pb2 as agent_pb
from autoresearch.trainer.v1 import trainer_pb2 as pb

from agent.grpc_api import AgentServicer, describe
from agent.lab.results_table import read_results
from agent.ledger.records import ProposalState, RunKind, StopReason
from agent.session.session import Peers, Session
from agent.session.sessions import Sessions
from agent.session.start_options import StartOptions
from agent.session.training import TrainerLost, Training
from agent.settings import ProviderKeys
from agent.verdict import Verdict
from services.entropy_client import EntropyClient
from services.errors import FailedPreconditionError, InvalidArgumentError, ServiceError, UnavailableError
from services.memory_client import MemoryClient
from services.trainer_client import TrainerClient
from tests.agent.conftest import MUCH_BETTER, MUCH_WORSE, run_to_end, scripted
from tests.agent.daemons import Child

NOBODY = "127.0.0.1:9"  # nothing listens on the discard port


def said(session: Session) -> list[str]:
    events = session.ledger.events(session.session_id, 0)
    return [str(event.payload["text"]) for event in events if event.kind == "message"]


@pytest.fixture
async def alone(shared_trainer: str) -> AsyncIterator[Sessions]:
    """Memory and entropy are named and cannot be reached."""
    async with TrainerClient(shared_trainer) as client, MemoryClient(NOBODY) as memory:
        async with EntropyClient(NOBODY) as entropy:

            async def no_sleep(seconds: float) -> None:
                await asyncio.sleep(0)

            peers = Peers(client, memory, entropy, trainer_patience=20.0, replicates=3, sleep=no_sleep)
            opened = Sessions(peers, ProviderKeys(), address=lambda: "127.0.0.1:1")
            yield opened
            await opened.close()


async def test_without_memory_and_entropy_the_session_runs_and_says_so(
    alone: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    session = await run_to_end(alone, scripted(lab, write_script({"changes": MUCH_BETTER})))
    assert session.record.stop_reason is StopReason.PROPOSER_DONE, session.record.stop_detail
    assert session.record.entropy_source == "os"
    assert sum("entropyd gives no seeds" in text for text in said(session)) == 1
    assert sum("memory is not reachable" in text for text in said(session)) == 1
    waiting = session.ledger.memories.waiting(session.session_id)
    assert [memory.key for memory in waiting] == [f"{session.session_id}-p1"], "kept for later"


async def test_a_wait_for_the_trainer_is_told_once() -> None:
    clock = [0.0]
    told: list[str] = []

    async def sleep(seconds: float) -> None:
        clock[0] += 2.0

    async with TrainerClient(NOBODY) as client:
        training = Training(client, patience=4.0, warn=told.append, sleep=sleep, monotonic=lambda: clock[0])
        with pytest.raises(TrainerLost):
            await training.run(pb.StartExperimentRequest(experiment_id="e"), lambda progress: None)
    assert len(told) == 1
    assert told[0].startswith("waiting up to 4 s for the trainer: ")


async def test_a_trainer_that_stays_away_stops_the_session_by_name(
    trainer: Child, own_sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    sessions = own_sessions
    script = write_script(*({"changes": {"MATRIX_LR": 0.02 + n / 100}} for n in range(20)))
    session, _ = await sessions.start(scripted(lab, script))
    while session.ledger.totals(session.session_id).proposals < 1:
        await asyncio.sleep(0.05)
    await trainer.kill()
    await session.wait(60)
    assert session.record.stop_reason is StopReason.TRAINER_FAILED
    assert "did not answer" in session.record.stop_detail
    with pytest.raises(UnavailableError) as caught:
        await sessions.start(scripted(lab.with_name("other"), script))
    assert caught.value.reason == "TRAINER_UNAVAILABLE"
    session = await run_to_end(sessions, scripted(lab, script))
    assert session.record.stop_reason is StopReason.TRAINER_FAILED, "while the data is made ready, too"
    assert any("waiting up to 1 s for the trainer" in text for text in said(session))
    await trainer.start()
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=3))
    assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT


async def test_a_baseline_that_crashes_stops_the_session_with_the_trainers_words(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script({"changes": MUCH_BETTER})
    session, _ = await sessions.start(StartOptions(lab=lab, manual=True))
    await sessions.stop(session.session_id)
    good = (lab / "train.py").read_text()
    (lab / "train.py").write_text('FAIL = "NOT_FINITE"\n')
    subprocess.run(["git", "-C", str(lab), "commit", "-qam", "broken"], check=True)
    for _ in range(2):
        session = await run_to_end(sessions, scripted(lab, script))
        assert session.record.stop_reason is StopReason.BASELINE_FAILED
        assert "NOT_FINITE" in session.record.stop_detail
    assert len(session.ledger.runs.all(session.session_id)) == 6, "each start tries again, three times"
    (lab / "train.py").write_text(good)
    subprocess.run(["git", "-C", str(lab), "commit", "-qam", "mended"], check=True)
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=1))
    assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail
    assert session.ledger.proposals.all(session.session_id)[0].verdict is Verdict.BASELINE


async def test_a_commit_of_the_owner_becomes_the_incumbent(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script({"description": "first", "changes": MUCH_WORSE}, {"changes": MUCH_BETTER})
    await run_to_end(sessions, scripted(lab, script, max_experiments=1))
    text = (lab / "train.py").read_text().replace("WEIGHT_DECAY = 0.2", "WEIGHT_DECAY = 0.1")
    (lab / "train.py").write_text(text)
    with pytest.raises(FailedPreconditionError) as caught:
        await sessions.start(scripted(lab, script, max_experiments=2))
    assert caught.value.reason == "LAB_DIRTY"
    subprocess.run(["git", "-C", str(lab), "commit", "-qam", "mine"], check=True)
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=2))
    second = session.ledger.proposals.all(session.session_id)[2]
    assert "WEIGHT_DECAY = 0.1" in session.ledger.text(second.parent_source_hash)
    assert second.verdict is Verdict.KEEP
    assert "WEIGHT_DECAY = 0.1" in (lab / "train.py").read_text()


async def test_a_commit_of_the_owner_that_cannot_run_stops_the_session_and_blames_no_further_candidate(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    changes = ({"changes": {"MATRIX_LR": 0.02 + n / 100}} for n in range(9))
    script = write_script(*changes)
    await run_to_end(sessions, scripted(lab, script, max_experiments=1))
    good = (lab / "train.py").read_text()
    (lab / "train.py").write_text(good + '\nFAIL = "RUNTIME_ERROR"\n')
    subprocess.run(["git", "-C", str(lab), "commit", "-qam", "broken"], check=True)
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=4))
    assert session.record.stop_reason is StopReason.TRAINER_FAILED
    assert (
        "the incumbent could not be measured: the incumbent failed: RUNTIME_ERROR"
        in session.record.stop_detail
    )
    verdicts = [item.verdict for item in session.ledger.proposals.all(session.session_id)]
    assert verdicts[2:] == [Verdict.CRASH]
    (lab / "train.py").write_text(good)
    subprocess.run(["git", "-C", str(lab), "commit", "-qam", "mended"], check=True)
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=4))
    assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail
    verdicts = [item.verdict for item in session.ledger.proposals.all(session.session_id)]
    assert Verdict.CRASH not in verdicts[3:]


async def test_after_a_fault_of_the_machine_known_code_must_run_before_more_candidates_are_spent(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    fault = {"description": "no room", "section": "training loop", "code": 'FAIL = "DISK_FULL"\n'}
    script = write_script(fault, {"changes": MUCH_BETTER})
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=2))
    verdicts = [item.verdict for item in session.ledger.proposals.all(session.session_id)]
    assert verdicts == [Verdict.BASELINE, Verdict.CRASH, Verdict.KEEP]
    runs = session.ledger.runs.of_proposal(session.session_id, 1)
    assert [(run.kind, bool(run.void)) for run in runs] == [
        *[(RunKind.CANDIDATE, True)] * 3,
        (RunKind.INCUMBENT, False),
    ]


async def test_results_edited_by_hand_decide_nothing_and_are_written_anew(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script({"changes": MUCH_WORSE}, {"changes": MUCH_BETTER})
    await run_to_end(sessions, scripted(lab, script, max_experiments=1))
    (lab / "results.tsv").write_text("commit\tval_bpb\nabc\tnot a number\n")
    session = await run_to_end(sessions, scripted(lab, script, max_experiments=2))
    rows = read_results((lab / "results.tsv").read_text())
    assert [row.status for row in rows] == ["keep", "discard", "keep"]
    assert session.ledger.totals(session.session_id).proposals == 2


async def test_a_clock_that_jumps_back_changes_no_count(
    shared_trainer: str, lab: Path, write_script: Callable[..., str]
) -> None:
    now = iter(float(10**9 - step * 1000) for step in range(10**6))
    async with TrainerClient(shared_trainer) as client:
        peers = Peers(client, None, None, replicates=2)
        sessions = Sessions(peers, ProviderKeys(), address=lambda: "", clock=lambda: next(now))
        session = await run_to_end(
            sessions, scripted(lab, write_script({"changes": MUCH_BETTER}), max_hours=1.0)
        )
        assert session.record.stop_reason is StopReason.PROPOSER_DONE
        assert 0 < session.record.active_seconds < 60
        sequences = [event.sequence for event in session.ledger.events(session.session_id, 0)]
        assert sequences == sorted(sequences)
        await sessions.close()


async def test_limits_stop_by_their_names_and_go_on_when_raised(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(*({"changes": {"MATRIX_LR": 0.02 + n / 100}} for n in range(9)))
    session = await run_to_end(sessions, scripted(lab, script, max_device_seconds=60.0))
    assert session.record.stop_reason is StopReason.DEVICE_LIMIT
    session = await run_to_end(
        sessions, scripted(lab, script, max_device_seconds=1e9, max_hours=1e-9, max_experiments=1)
    )
    assert session.record.stop_reason is StopReason.TIME_LIMIT
    session = await run_to_end(sessions, scripted(lab, script, max_hours=10.0, max_experiments=1))
    assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT
    items = session.ledger.proposals.all(session.session_id)
    assert all(item.state is ProposalState.RECORDED for item in items)


async def test_two_starts_give_one_session_and_another_tag_must_wait(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(*({"changes": {"MATRIX_LR": 0.02 + n / 100}} for n in range(9)))
    first, second = await asyncio.gather(
        sessions.start(scripted(lab, script)), sessions.start(scripted(lab, script))
    )
    assert first[0] is second[0]
    with pytest.raises(FailedPreconditionError) as caught:
        await sessions.start(scripted(lab, script, tag="other"))
    assert caught.value.reason == "LAB_LOCKED"
    other = Sessions(sessions._peers, ProviderKeys(), address=lambda: "127.0.0.1:2")
    with pytest.raises(FailedPreconditionError) as caught:
        await other.start(scripted(lab, script))
    assert caught.value.reason == "LAB_LOCKED"
    await sessions.stop(first[0].session_id)
    again, resumed = await other.start(scripted(lab, script, max_experiments=1))
    assert resumed
    await again.wait(60)
    await other.close()


@pytest.mark.parametrize(
    "options",
    [
        {"max_experiments": -1},
        {"time_budget": 0.0},
        {"time_budget": float("nan")},
        {"max_cost_usd": -0.5},
        {"script": "/nowhere/script.json", "provider": "scripted"},
        {"script": "", "provider": "scripted"},
    ],
)
async def test_senseless_options_are_refused_with_their_name(
    sessions: Sessions, lab: Path, options: dict[str, object]
) -> None:
    with pytest.raises(ServiceError) as caught:
        await sessions.start(StartOptions(lab=lab, **options))  # type: ignore[arg-type]
    assert next(iter(options)) in caught.value.message
    assert not isinstance(caught.value, InvalidArgumentError) or caught.value.field


async def test_another_budget_for_the_same_tag_is_refused(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script({"changes": MUCH_BETTER})
    await run_to_end(sessions, scripted(lab, script, time_budget=10.0))
    with pytest.raises(FailedPreconditionError):
        await sessions.start(scripted(lab, script, time_budget=20.0))
    for tag in ("lab", "longer"):
        with pytest.raises(FailedPreconditionError, match="preset: this lab was made with"):
            await sessions.start(scripted(lab, script, preset="h100", tag=tag))
    await run_to_end(sessions, scripted(lab, script, time_budget=20.0, tag="longer"))


async def test_an_end_that_cannot_be_written_ends_the_watch_and_the_session_can_be_resumed(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script({"changes": MUCH_WORSE})
    session, _ = await sessions.start(scripted(lab, script))
    session.ledger._database.execute("PRAGMA query_only=1")  # as a disk that takes no more
    request = agent_pb.WatchSessionRequest(session_id=session.session_id)
    watch: Any = AgentServicer(sessions).WatchSession
    events = await asyncio.wait_for(_all(watch(request, None)), 30)
    assert not session.running
    assert session.record.stop_reason is None
    told = describe(session)
    assert told.state == agent_pb.SESSION_STATE_STOPPED
    assert told.stop_reason == agent_pb.STOP_REASON_LAB_FAILED
    assert "cannot be written" in told.stop_detail
    assert len(events) < 5
    session.ledger._database.execute("PRAGMA query_only=0")
    again = await run_to_end(sessions, scripted(lab, script))
    assert again is not session
    assert again.record.stop_reason is StopReason.PROPOSER_DONE, again.record.stop_detail


async def test_a_watch_ends_with_agentd_and_says_so(
    sessions: Sessions, lab: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(*({"changes": {"MATRIX_LR": 0.02 + n / 100}} for n in range(9)))
    session, _ = await sessions.start(scripted(lab, script))
    watch: Any = AgentServicer(sessions).WatchSession
    request = agent_pb.WatchSessionRequest(session_id=session.session_id)
    watching = asyncio.create_task(_all(watch(request, None)))
    await asyncio.sleep(0)
    await sessions.close()
    last: Any = (await asyncio.wait_for(watching, 30))[-1]
    assert (last.session.state, last.session.stop_detail) == (agent_pb.SESSION_STATE_STOPPED, "agentd ended")


async def _all(stream: AsyncIterator[object]) -> list[object]:
    return [event async for event in stream]


async def test_a_full_disk_stops_by_name_and_loses_nothing(
    sessions: Sessions, tmp_path: Path, write_script: Callable[..., str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        lab = disk / "lab"
        script = write_script(*({"changes": {"MATRIX_LR": 0.02 + n / 100}} for n in range(6)))
        session = await run_to_end(sessions, scripted(lab, script, max_experiments=1))
        filler = disk / "filler"
        # Without a buffer: what is left in one fails a second time when the file is closed.
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 65536)
        with pytest.raises(ServiceError) as caught:
            await sessions.start(scripted(lab, script, max_experiments=3))
        assert caught.value.reason in ("STORE_FULL", "LAB_FAILED"), caught.value.message
        filler.unlink()
        session = await run_to_end(sessions, scripted(lab, script, max_experiments=3))
        assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail
        items = session.ledger.proposals.all(session.session_id)
        assert [item.number for item in items] == [0, 1, 2, 3]
        await sessions.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
