"""Pairs on a trainer with several devices: both sides at once, within one class of device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb

from agent.ledger.records import RunKind, RunRecord, StopReason
from agent.session.pairing import devices_of_class
from agent.session.session import Peers, Session
from agent.session.sessions import Sessions
from agent.settings import ProviderKeys
from agent.verdict import Verdict
from services.trainer_client import TrainerClient
from tests.agent.conftest import MUCH_BETTER, MUCH_WORSE, run_to_end, scripted
from tests.agent.daemons import trainerd

# A keep first: the block after it begins with a seed on which the new incumbent was never measured.
DRAFTS = (
    {"description": "better", "changes": MUCH_BETTER},
    {"description": "worse", "changes": MUCH_WORSE},
    {"description": "crash", "section": "training loop", "code": 'FAIL = "NOT_FINITE"\n'},
)


async def play(lab: Path, script: str, folder: Path, slots: int) -> tuple[Session, bool]:
    """The session at its end, and whether the first whole pair had both its runs planned before one ended."""
    child = await trainerd(folder, slots=slots).start()
    try:
        async with TrainerClient(child.grpc) as client:
            peers = Peers(client, None, None, trainer_patience=20.0, replicates=3)
            sessions = Sessions(peers, ProviderKeys(), address=lambda: "127.0.0.1:1")
            session = await run_to_end(sessions, scripted(lab, script))
            ended = {
                item.experiment_id: item.end_time.ToNanoseconds() / 1e9
                for item in (await client.list_experiments(page_size=500)).experiments
            }
            candidate, incumbent = first_pair(session)
            await sessions.close()
            return session, incumbent.created_at < ended[candidate.experiment_id]
    finally:
        await child.kill()


def first_pair(session: Session) -> tuple[RunRecord, RunRecord]:
    """Candidate and incumbent of the first pair that needed a run of both."""
    runs = session.ledger.runs.all(session.session_id)
    incumbent = next(run for run in runs if run.kind is RunKind.INCUMBENT)
    place = (incumbent.number, RunKind.CANDIDATE, incumbent.position)
    return next(run for run in runs if (run.number, run.kind, run.position) == place), incumbent


@pytest.mark.parametrize(("slots", "together"), [(2, True), (1, False)])
async def test_a_pair_runs_at_once_where_the_trainer_has_two_devices(
    slots: int, together: bool, lab: Path, tmp_path: Path, write_script: Callable[..., str]
) -> None:
    session, at_once = await play(lab, write_script(*DRAFTS), tmp_path / "trainer", slots)
    assert session.record.stop_reason is StopReason.PROPOSER_DONE, session.record.stop_detail
    verdicts = [item.verdict for item in session.ledger.proposals.all(session.session_id)]
    assert verdicts == [Verdict.BASELINE, Verdict.KEEP, Verdict.DISCARD, Verdict.CRASH]
    assert at_once is together
    candidate, incumbent = first_pair(session)
    assert candidate.seed == incumbent.seed
    assert candidate.device_class == incumbent.device_class == session.record.setup.device_class
    runs = [run for run in session.ledger.runs.all(session.session_id) if not run.void]
    places = [(run.number, run.kind, run.position) for run in runs]
    assert len(places) == len(set(places))
    assert len({(run.seed_index, run.seed) for run in runs}) == len({run.seed_index for run in runs})


def test_devices_of_another_class_do_not_count() -> None:
    devices = [pb.Device(device_class=name) for name in ("h200", "h200", "a100")]
    assert [devices_of_class(devices, name) for name in ("h200", "a100", "cpu", "")] == [2, 1, 0, 0]
