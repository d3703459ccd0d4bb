"""`trainerd bench --wire`: what a call and a metric take over loopback, beside a bare grpcio server.

Unary: GetExperiment at a steady rate, each call sent when it is due, whatever became of those before it. The
bare server has no interceptors and answers the same message; the two are loaded in turn, second by second.
Fan-out: from the moment at which the daemon numbers a metric to its arrival at each of many watchers, each
with a connection of its own; one watcher alone stands beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
from autoresearch.trainer.v1 import trainer_pb2 as pb

from services.child_server import child_server
from services.trainer_client import TrainerClient
from trainer.bench.bare_server import SERVICE_NAME

RATE = 500
WATCHERS = 20
SLICE_SECONDS = 1.0
RUN_SECONDS = 2.0
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
Call = Callable[[], Awaitable[object]]


async def measure_wire(folder: Path, repeats: int) -> dict[str, float | int | str]:
    """`repeats` seconds of calls to each server, and `repeats` runs of twenty metrics to one and to all
    watchers. Times in milliseconds."""
    figures: dict[str, float | int | str] = {"calls_per_second": RATE, "watchers": WATCHERS}
    flags = ("--executor", "scripted", "--scripted-seconds", str(RUN_SECONDS))
    command = ("--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--state", str(folder), *flags)
    async with (
        child_server("trainer", *command, stderr=asyncio.subprocess.DEVNULL) as addresses,
        TrainerClient(addresses["grpc"]) as client,
    ):
        figures |= await measure_calls(client, repeats)
        for count, name in ((1, "one_watcher"), (WATCHERS, "fan_out")):
            delays = await measure_fan_out(client, addresses["grpc"], count, repeats)
            figures |= {f"{name}_p50_ms": percentile(delays, 50), f"{name}_p95_ms": percentile(delays, 95)}
    return figures


async def measure_calls(client: TrainerClient, seconds: int) -> dict[str, float]:
    """GetExperiment of the daemon and of a bare server."""
    await run_one(client, "asked-for")
    answer = pb.GetExperimentResponse(experiment=await client.get("asked-for"))
    ask = pb.GetExperimentRequest(experiment_id="asked-for")
    async with (
        child_server("trainer.bench.bare_server", answer.SerializeToString().hex()) as bare,
        grpc.aio.insecure_channel(bare["grpc"]) as channel,
    ):
        plain: Any = channel.unary_unary(
            f"/{SERVICE_NAME}/GetExperiment",
            request_serializer=pb.GetExperimentRequest.SerializeToString,
            response_deserializer=pb.GetExperimentResponse.FromString,
        )
        ours, theirs = await measure_in_turn(
            lambda: client.get("asked-for"), lambda: plain(ask, timeout=10), seconds
        )
    return {
        f"{name}_p{percent}_ms": percentile(taken, percent)
        for name, taken in (("call", ours), ("bare_call", theirs))
        for percent in (50, 99)
    }


async def measure_in_turn(first: Call, second: Call, slices: int) -> tuple[list[float], list[float]]:
    """Seconds that each call took, for both; a slice that warms up is thrown away."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(slices + 1):
        for call, seconds in zip((first, second), taken, strict=True):
            found = await call_steadily(call, RATE, SLICE_SECONDS)
            if number:
                seconds += found
    return taken


async def call_steadily(call: Call, rate: int, seconds: float) -> list[float]:
    """Seconds from the moment at which each call was due to its answer."""
    taken: list[float] = []

    async def one(due: float) -> None:
        await call()
        taken.append(time.perf_counter() - due)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            group.create_task(one(due))
    return taken


async def measure_fan_out(client: TrainerClient, target: str, count: int, runs: int) -> list[float]:
    """Seconds from a metric's time to its arrival, of every metric at every watcher."""
    delays: list[float] = []

    async def watch(channel: grpc.aio.Channel, name: str) -> None:
        method: Any = channel.unary_stream(
            f"/{SERVICE_NAME}/WatchExperiment",
            request_serializer=pb.WatchExperimentRequest.SerializeToString,
            response_deserializer=pb.WatchExperimentResponse.FromString,
        )
        async for event in method(pb.WatchExperimentRequest(experiment_id=name), timeout=60):
            if event.HasField("metric"):
                delays.append(time.time() - event.event_time.ToNanoseconds() / 1e9)

    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(target, options=OWN_CONNECTION))
            for _ in range(count)
        ]
        for number in range(runs):
            name = f"watched-{count}-{number}"
            await client.start(wanted(name))
            await asyncio.gather(*(watch(channel, name) for channel in channels))
    return delays


def wanted(name: str) -> pb.StartExperimentRequest:
    return pb.StartExperimentRequest(experiment_id=name, train_source="DEPTH = 4\n")


async def run_one(client: TrainerClient, name: str) -> None:
    await client.start(wanted(name))
    async for _ in client.watch(name, timeout=60):
        pass


def percentile(seconds: Sequence[float], percent: int) -> float:
    """In milliseconds."""
    return 1e3 * sorted(seconds)[min(len(seconds) - 1, len(seconds) * percent // 100)]
