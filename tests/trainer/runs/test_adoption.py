"""A run goes on while its daemon is away, and the next daemon takes it up."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb

from tests.trainer.daemon_process import Daemon, processes_below, trainerd
from tests.trainer.serving import request, watch_to_end
from trainer.presets import PRESETS
from trainer.sandbox.tiers import choose_tier
from trainer.templates import research_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs outlive their daemon on Linux only")
COUNT = 60
COUNTING = f"""
import json, os, time
descriptor = int(os.environ["AUTORESEARCH_EVENTS_FD"])
for number in range({COUNT}):
    event = {{"type": "metric", "step": number, "values": {{"loss": float(number)}}}}
    os.write(descriptor, json.dumps(event).encode() + b"\\n")
    print("line", number, flush=True)
    time.sleep(0.05)
raise SystemExit(7)
"""
ENDLESS = "import time\nprint('ready', flush=True)\ntime.sleep(3600)\n"
TIER = choose_tier("auto").tier.value.lower()


async def start(daemon: Daemon, name: str, source: str, seed: int = 1, **more: object) -> None:
    wanted = request(name, source, seed, preset="tiny", origin=pb.SOURCE_ORIGIN_USER, **more)
    await daemon.client.start(wanted)


async def until(daemon: Daemon, name: str, *, state: int = 0, text: str = "") -> int:
    """The sequence number of the first event that has the state or the line."""
    async for event in daemon.client.watch(name, timeout=120):
        if (state and event.state.state == state) or (text and event.log.text == text):
            return int(event.sequence)
    raise AssertionError("it was never seen")


async def end(daemon: Daemon, number: int) -> None:
    daemon.process.send_signal(number)
    await asyncio.wait_for(daemon.process.wait(), 20)


async def until_gone(folder: Path) -> None:
    for _ in range(200):
        if not processes_below(folder):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"still there: {processes_below(folder)}")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
async def test_every_event_comes_once_over_two_daemons(number: int, tmp_path: Path, tiny_data: Path) -> None:
    async with trainerd(tmp_path, tiny_data) as daemon:
        await start(daemon, "counting", COUNTING)
        await until(daemon, "counting", text="line 5")
        await end(daemon, number)
    assert processes_below(tmp_path / "runs" / "counting")
    async with trainerd(tmp_path, tiny_data) as daemon:
        events = await watch_to_end(daemon.client, "counting")
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert [event.metric.step for event in events if event.HasField("metric")] == list(range(COUNT))
        lines = [event.log.text for event in events if event.HasField("log")]
        assert lines == [f"line {number}" for number in range(COUNT)]
        last = events[-1].state
        assert last.result.failure_reason == pb.FAILURE_REASON_RUNTIME_ERROR
        assert "code 7" in last.result.failure_message
        assert list(last.result.log_tail) == lines[-50:]
        log = (tmp_path / "runs" / "counting" / "log.txt").read_text().splitlines()
        assert log == [f"stdout: {line}" for line in lines]


@pytest.mark.long
async def test_a_run_that_ended_while_no_daemon_was_there_is_judged(tmp_path: Path, tiny_data: Path) -> None:
    async with trainerd(tmp_path, tiny_data) as daemon:
        await start(daemon, "counting", COUNTING)
        await until(daemon, "counting", text="line 1")
        await end(daemon, signal.SIGKILL)
    await until_gone(tmp_path / "runs")
    async with trainerd(tmp_path, tiny_data) as daemon:
        events = await watch_to_end(daemon.client, "counting")
        assert sum(event.HasField("metric") for event in events) == COUNT
        assert "code 7" in events[-1].state.result.failure_message


@pytest.mark.long
async def test_an_adopted_run_can_be_cancelled_and_its_device_is_leased(
    tmp_path: Path, tiny_data: Path
) -> None:
    async with trainerd(tmp_path, tiny_data) as daemon:
        await start(daemon, "endless", ENDLESS)
        await until(daemon, "endless", text="ready")
        await start(daemon, "waiting", "x = 1\n")
        await end(daemon, signal.SIGKILL)
    async with trainerd(tmp_path, tiny_data) as daemon:
        assert [device.leased for device in (await daemon.client.capabilities()).devices] == [True]
        assert (await daemon.client.get("waiting")).queue_position == 1
        cancelled = await daemon.client.cancel("endless", "enough")
        assert cancelled.state == pb.EXPERIMENT_STATE_CANCELLED
        assert processes_below(tmp_path / "runs" / "endless") == []
        last = (await watch_to_end(daemon.client, "waiting"))[-1].state
        assert last.result.failure_reason == pb.FAILURE_REASON_CONTRACT_VIOLATION


@pytest.mark.long
async def test_a_run_without_a_daemon_ends_by_itself(tmp_path: Path, tiny_data: Path) -> None:
    async with trainerd(tmp_path, tiny_data, "--orphan-seconds", "1") as daemon:
        await start(daemon, "endless", ENDLESS)
        await until(daemon, "endless", text="ready")
        await end(daemon, signal.SIGKILL)
    await until_gone(tmp_path / "runs")
    async with trainerd(tmp_path, tiny_data) as daemon:
        last = (await watch_to_end(daemon.client, "endless"))[-1].state
        assert last.result.failure_reason == pb.FAILURE_REASON_INTERRUPTED
        assert "--orphan-seconds" in last.result.failure_message


@pytest.mark.long
async def test_a_run_of_another_tier_is_ended_not_adopted(tmp_path: Path, tiny_data: Path) -> None:
    async with trainerd(tmp_path, tiny_data, "--sandbox", "none") as daemon:
        await start(daemon, "endless", ENDLESS)
        await until(daemon, "endless", text="ready")
        await end(daemon, signal.SIGKILL)
    if TIER == "none":
        pytest.skip("no sandbox tier works here")
    async with trainerd(tmp_path, tiny_data, "--sandbox", TIER) as daemon:
        assert processes_below(tmp_path / "runs") == []
        ended = await daemon.client.get("endless")
        assert ended.result.failure_reason == pb.FAILURE_REASON_INTERRUPTED


@pytest.mark.long
async def test_a_run_whose_supervisor_was_killed_with_the_daemon_is_closed(
    tmp_path: Path, tiny_data: Path
) -> None:
    """As where a container is stopped: nothing is left but files."""
    async with trainerd(tmp_path, tiny_data) as daemon:
        await start(daemon, "endless", ENDLESS)
        await until(daemon, "endless", text="ready")
        await end(daemon, signal.SIGKILL)
        for process in processes_below(tmp_path / "runs"):
            process.kill()
    async with trainerd(tmp_path, tiny_data) as daemon:
        last = (await watch_to_end(daemon.client, "endless"))[-1].state
        assert last.result.failure_reason == pb.FAILURE_REASON_INTERRUPTED
        assert not (tmp_path / "runs" / "endless" / "record").exists()


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_run_is_scored_although_daemons_died_in_training_and_in_evaluation(
    tmp_path: Path, tiny_data: Path
) -> None:
    source = research_file(PRESETS["tiny"])
    for state in (pb.EXPERIMENT_STATE_TRAINING, pb.EXPERIMENT_STATE_EVALUATING):
        async with trainerd(tmp_path, tiny_data, "--threads", "1") as daemon:
            await start(daemon, "trained", source, keep_checkpoint=True)
            await until(daemon, "trained", state=state)
            await end(daemon, signal.SIGKILL)
    async with trainerd(tmp_path, tiny_data, "--threads", "1") as daemon:
        events = await watch_to_end(daemon.client, "trained")
        last = events[-1].state
        assert last.state == pb.EXPERIMENT_STATE_SUCCEEDED, last.result.failure_message
        assert 0.5 < last.result.val_bpb < 10
        assert all(audit.passed for audit in last.result.evaluation.audits)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        steps = [event.metric.step for event in events if event.HasField("metric")]
        assert steps == list(range(last.result.num_steps))
        states = [event.state.state for event in events if event.HasField("state")]
        assert states == sorted(set(states))
        assert set(last.result.artifacts) >= {"log", "metrics", "train.py", "model.safetensors"}
    assert processes_below(tmp_path / "runs") == []
