"""Streams of a real trainerd: readers that stall, links that break, calls without end, and what they cost."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from pathlib import Path

import grpc
import psutil
import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc

from services.trainer_client import TrainerClient
from tests.services.router import Router
from tests.trainer.daemon_process import Daemon, trainerd
from tests.trainer.serving import request, watch_to_end
from trainer.executor import MetricEvent
from trainer.experiment import Budget, Experiment, ExperimentRequest, SeedGrant, State
from trainer.journal import Journal
from trainer.runs.live_run import LiveRun

TALKING = """
import json, os, time
descriptor = int(os.environ["AUTORESEARCH_EVENTS_FD"])
began = time.monotonic()
for number in range({count}):
    event = {{"type": "metric", "step": number, "values": {{"loss": float(number)}}}}
    os.write(descriptor, json.dumps(event).encode() + b"\\n")
    if number % 10 == 9:
        time.sleep(max(0.0, began + number / {rate} - time.monotonic()))
raise SystemExit(7)
"""


async def start_talking(daemon: Daemon, name: str, count: int, rate: int) -> None:
    source = TALKING.format(count=count, rate=rate)
    await daemon.client.start(request(name, source, preset="tiny", origin=pb.SOURCE_ORIGIN_USER))


def steps_of(events: list[pb.WatchExperimentResponse]) -> list[int]:
    return [event.metric.step for event in events if event.HasField("metric")]


def resident_bytes(daemon: Daemon) -> int:
    return int(psutil.Process(daemon.process.pid).memory_info().rss)


@pytest.mark.long
async def test_cut_links_lose_and_repeat_nothing(tmp_path: Path, tiny_data: Path) -> None:
    await cut_links(tmp_path, tiny_data, cuts=20, count=1_000)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
async def test_a_thousand_cut_links_lose_and_repeat_nothing(tmp_path: Path, tiny_data: Path) -> None:
    await cut_links(tmp_path, tiny_data, cuts=1_000, count=60_000)


async def cut_links(state: Path, data: Path, *, cuts: int, count: int) -> None:
    chosen = random.Random(7)
    after = set(chosen.sample(range(1, count), cuts))
    steps, sequences = [], []
    async with (
        trainerd(state, data) as daemon,
        Router(daemon.client.target) as router,
        TrainerClient(router.address) as client,
    ):
        await start_talking(daemon, "talking", count, 1_000)
        async for event in client.watch("talking", timeout=1_000):
            sequences.append(event.sequence)
            if event.HasField("metric"):
                steps.append(event.metric.step)
                if event.metric.step in after:
                    router.cut()
        assert router.cuts == cuts
    assert steps == list(range(count))
    assert sequences == list(range(1, len(sequences) + 1))


@pytest.mark.nightly
@pytest.mark.timeout(600)
async def test_a_reader_that_stalls_costs_nothing(tmp_path: Path, tiny_data: Path) -> None:
    """60 s at 1,000 metrics a second that nobody reads."""
    async with trainerd(tmp_path, tiny_data) as daemon:
        await start_talking(daemon, "warm", 2_000, 1_000)
        await watch_to_end(daemon.client, "warm")
        await start_talking(daemon, "talking", 60_000, 1_000)
        async with grpc.aio.insecure_channel(daemon.client.target) as channel:
            ask = pb.WatchExperimentRequest(experiment_id="talking")
            stalled = rpc.TrainerServiceStub(channel).WatchExperiment(ask, timeout=400)
            step = 0
            while step < 1_000:
                event = await stalled.read()
                assert isinstance(event, pb.WatchExperimentResponse)
                step = event.metric.step
            before, began = resident_bytes(daemon), time.monotonic()
            while (await daemon.client.get("talking")).state != pb.EXPERIMENT_STATE_FAILED:
                await asyncio.sleep(0.5)
            lasted, grown = time.monotonic() - began, resident_bytes(daemon) - before
            rest = []
            while (event := await stalled.read()) is not grpc.aio.EOF:
                assert isinstance(event, pb.WatchExperimentResponse)
                rest.append(event)
        print(f"stalled for {lasted:.0f} s: resident memory grew by {grown / 2**20:.1f} MiB")
        assert steps_of(rest) == list(range(1_001, 60_000))
        assert grown <= 20 << 20
        assert lasted < 90


@pytest.mark.nightly
@pytest.mark.timeout(3600)
async def test_calls_without_end_leave_nothing_behind(tmp_path: Path, tiny_data: Path) -> None:
    """100,000 unary calls and 10,000 abandoned streams."""
    async with trainerd(tmp_path, tiny_data, "--executor", "scripted") as daemon:
        await daemon.client.start(request("done"))
        await watch_to_end(daemon.client, "done")
        await daemon.client.start(request("waited-for", preset="tiny", seed=2))
        await watch_to_end(daemon.client, "waited-for")
        process = psutil.Process(daemon.process.pid)
        await _call(daemon, 5_000)
        await _abandon(daemon, 500)
        before, descriptors = resident_bytes(daemon), process.num_fds()
        await _call(daemon, 100_000)
        await _abandon(daemon, 10_000)
        gc.collect()
        await asyncio.sleep(2)
        grown = resident_bytes(daemon) - before
        more = process.num_fds() - descriptors
        print(f"resident memory grew by {grown / 2**20:.1f} MiB, descriptors by {more}")
        assert grown <= 10 << 20
        assert process.num_fds() <= descriptors + 2


async def _call(daemon: Daemon, count: int) -> None:
    for _ in range(count // 50):
        await asyncio.gather(*(daemon.client.get("done") for _ in range(50)))


async def _abandon(daemon: Daemon, count: int) -> None:
    """Opens watches, reads one event of each and cancels them."""
    async with grpc.aio.insecure_channel(daemon.client.target) as channel:
        stub = rpc.TrainerServiceStub(channel)
        for _ in range(count // 20):
            calls = [
                stub.WatchExperiment(pb.WatchExperimentRequest(experiment_id="done"), timeout=30)
                for _ in range(20)
            ]
            for call in calls:
                await call.read()
                call.cancel()


async def test_metrics_beyond_the_limit_are_dropped_and_counted(tmp_path: Path) -> None:
    wanted = ExperimentRequest("loud", "", SeedGrant(1), Budget("tokens", 1.0), "", "tiny")
    with Journal(tmp_path / "journal.db") as journal:
        journal.add(Experiment(wanted), "hash", "")
        live = LiveRun(Experiment(wanted), journal, time.time, most_metrics=100)
        for step in range(107):
            live.apply(MetricEvent(step))
        live.change(state=State.FAILED)
        assert journal.count("loud", "metric") == 100
        dropped = journal.events("loud", 100, 10)[0]
        assert (dropped.kind, dropped.body) == ("dropped", '{"count":7}')
        live.close()


@pytest.mark.long
async def test_a_run_that_cannot_fit_is_refused_before_it_starts(tmp_path: Path, tiny_data: Path) -> None:
    async with trainerd(tmp_path, tiny_data, "--memory-limit-gib", "0.1") as daemon:
        template = (await daemon.client.template("tiny")).files["train.py"]
        await daemon.client.start(request("large", template, preset="tiny"))
        last = (await watch_to_end(daemon.client, "large"))[-1].state
        assert last.result.failure_reason == pb.FAILURE_REASON_OUT_OF_HOST_MEMORY
        assert "GiB, the device has 0.1; lower DEVICE_BATCH_SIZE" in last.result.failure_message
        assert last.result.num_steps == 0
