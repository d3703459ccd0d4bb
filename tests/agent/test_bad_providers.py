"""A provider that cannot serve, and a disk that cannot be written: named, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.ledger.records import StopReason
from agent.session.session import Peers, Session
from agent.session.sessions import Sessions
from agent.session.start_options import StartOptions
from agent.settings import ProviderKeys
from services.errors import FailedPreconditionError
from services.trainer_client import TrainerClient
from tests.agent.conftest import run_to_end, scripted
from tests.agent.test_llm_wires import KEY, experiment, playing
from tests.contract.provider_wires import Scene, serve

NOBODY = "http://127.0.0.1:9/v1"  # nothing listens on the discard port


async def ask_model(shared_trainer: str, lab: Path, base_url: str, waits: list[float]) -> Session:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with TrainerClient(shared_trainer) as client:
        peers = Peers(client, None, None, replicates=3, sleep=sleep)
        sessions = Sessions(peers, ProviderKeys({"openai": KEY}), address=lambda: "")
        options = StartOptions(
            lab=lab, provider="openai", model="no-such-model", base_url=base_url, max_experiments=1
        )
        session = await run_to_end(sessions, options)
        await sessions.close()
        return session


@pytest.mark.parametrize(
    ("scene", "says", "calls"),
    [
        (
            Scene(status=404, error_code="model_not_found", error_message="model no-such-model not found"),
            "check --model and --base-url",
            1,
        ),
        pytest.param(
            Scene(status=401, error_code="invalid_api_key", error_message="key expired"),
            "check the key",
            1,
            marks=pytest.mark.long,
        ),
        pytest.param(Scene(fault="html"), "attempt 5 of 5", 5, marks=pytest.mark.long),
    ],
    ids=["unknown model", "expired key", "not an API"],
)
async def test_a_provider_that_cannot_serve_stops_by_name_and_the_next_start_goes_on(
    shared_trainer: str, lab: Path, scene: Scene, says: str, calls: int
) -> None:
    wire = playing("openai")
    wire.scenes = [scene]
    async with serve(wire):
        session = await ask_model(shared_trainer, lab, wire.url, [])
        assert session.record.stop_reason is StopReason.PROVIDER_FAILED
        assert says in session.record.stop_detail
        assert KEY not in session.record.stop_detail
        assert len(wire.requests) == calls
        assert session.ledger.totals(session.session_id).proposals == 0, "no slot is lost"
        wire.scenes = [experiment({"MATRIX_LR": 0.0003}, "slower")]
        again = await ask_model(shared_trainer, lab, wire.url, [])
    assert again.session_id == session.session_id
    assert again.record.stop_reason is StopReason.EXPERIMENT_LIMIT, again.record.stop_detail


async def test_a_key_that_is_refused_stops_before_anything_is_trained(shared_trainer: str, lab: Path) -> None:
    wire = playing("openai")
    wire.models = Scene(status=401, error_code="invalid_api_key", error_message="key expired")
    async with serve(wire):
        session = await ask_model(shared_trainer, lab, wire.url, [])
    assert session.record.stop_reason is StopReason.PROVIDER_FAILED
    assert "check the key" in session.record.stop_detail
    assert session.ledger.proposals.all(session.session_id) == []


async def test_a_key_that_may_not_ask_for_models_may_work(shared_trainer: str, lab: Path) -> None:
    wire = playing("openai")
    wire.models = Scene(status=403, error_message="missing scopes: api.model.read")
    wire.scenes = [experiment({"MATRIX_LR": 0.0003}, "slower")]
    async with serve(wire):
        session = await ask_model(shared_trainer, lab, wire.url, [])
    assert session.record.stop_reason is StopReason.EXPERIMENT_LIMIT, session.record.stop_detail


async def test_a_base_url_where_nobody_listens_stops_by_name_after_bounded_waits(
    shared_trainer: str, lab: Path
) -> None:
    waits: list[float] = []
    session = await ask_model(shared_trainer, lab, NOBODY, waits)
    assert session.record.stop_reason is StopReason.PROVIDER_FAILED
    assert "cannot be reached" in session.record.stop_detail
    assert [wait for wait in waits if wait >= 1] == [1.0, 2.0, 4.0, 8.0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one's own, that can be remounted read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


async def test_a_lab_on_a_read_only_disk_is_refused_by_name_and_goes_on_when_writable(
    sessions: Sessions, disk: Path, write_script: Callable[..., str]
) -> None:
    script = write_script(*({"changes": {"MATRIX_LR": 0.02 + n / 100}} for n in range(6)))
    lab = disk / "lab"
    earlier = Sessions(sessions._peers, ProviderKeys(), address=lambda: "127.0.0.1:1")
    await run_to_end(earlier, scripted(lab, script, max_experiments=1))
    await earlier.close()
    earlier.close_ledgers()  # a file system with a file open for writing does not turn read-only
    remount(disk, "ro")
    later = Sessions(sessions._peers, ProviderKeys(), address=lambda: "127.0.0.1:1")
    for folder in (lab, disk / "new"):
        with pytest.raises(FailedPreconditionError) as caught:
            await later.start(scripted(folder, script, max_experiments=2))
        assert caught.value.reason == "LAB_READ_ONLY", caught.value.message
        assert str(folder) in caught.value.message
    remount(disk, "rw")
    again = await run_to_end(later, scripted(lab, script, max_experiments=2))
    assert again.record.stop_reason is StopReason.EXPERIMENT_LIMIT, again.record.stop_detail
    assert [item.number for item in again.ledger.proposals.all(again.session_id)] == [0, 1, 2]
    await later.close()
    later.close_ledgers()
