"""Artifacts over the wire: whole, in pieces, from the middle, and at the sizes that were promised."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import grpc
import psutil
import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc

from services.errors import DataLossError, InvalidArgumentError, NotFoundError
from services.trainer_client import TrainerClient
from tests.trainer.daemon_process import Daemon, trainerd
from tests.trainer.serving import request, serving
from trainer.experiment import Budget, Experiment, ExperimentRequest, Result, SeedGrant, State
from trainer.journal import Journal
from trainer.runs.artifacts import ARTIFACTS, hash_artifacts
from trainer.scripted_executor import ScriptedExecutor

MIB = 1 << 20
LARGEST_PIECE, LARGEST_MESSAGE = MIB, 4 * MIB
ENDED = (pb.EXPERIMENT_STATE_FAILED, pb.EXPERIMENT_STATE_SUCCEEDED, pb.EXPERIMENT_STATE_CANCELLED)
PRINTING = """
import os
line = b"x" * 1_999 + b"\\n"
for _ in range({count} // 50):
    view = memoryview(line * 50)
    while view:
        view = view[os.write(1, view):]
raise SystemExit(7)
"""


def leave_behind(state: Path, name: str, artifact: str, data: bytes, times: int = 1) -> Path:
    """An experiment that has ended with one artifact, as a daemon would have left it."""
    path = state / "runs" / name / ARTIFACTS[artifact]
    path.parent.mkdir(parents=True)
    with path.open("wb") as stream:
        for _ in range(times):
            stream.write(data)
    experiment = Experiment(ExperimentRequest(name, "", SeedGrant(1), Budget("tokens", 1.0), "", "tiny"))
    with Journal(state / "journal.db") as journal:
        journal.add(experiment, "hash", "")
        result = Result(artifacts=hash_artifacts(state / "runs" / name))
        journal.save(Experiment(experiment.request, State.SUCCEEDED, result=result))
    return path


async def receive(pieces: AsyncIterable[pb.FetchArtifactResponse]) -> tuple[int, str, str]:
    """(bytes, their SHA-256, the SHA-256 that was announced); every piece follows the one before."""
    count, seen, announced = 0, hashlib.sha256(), ""
    async for piece in pieces:
        assert piece.offset == count
        assert len(piece.data) <= LARGEST_PIECE
        count += len(piece.data)
        seen.update(piece.data)
        announced = piece.sha256
    return count, seen.hexdigest(), announced


async def test_a_checkpoint_of_64_mib_comes_whole_in_pieces_of_one(tmp_path: Path) -> None:
    leave_behind(tmp_path, "large", "model.safetensors", b"weights " * (MIB // 8), 64)
    async with serving(ScriptedExecutor(0.0), tmp_path) as served:
        fetched = receive(served.client.fetch_artifact("large", "model.safetensors", timeout=100))
        count, seen, announced = await fetched
    assert count == 64 * MIB
    assert seen == announced


async def test_what_was_broken_off_goes_on_from_its_offset(tmp_path: Path) -> None:
    path = leave_behind(tmp_path, "one", "log", bytes(range(256)) * 8_000)
    async with serving(ScriptedExecutor(0.0), tmp_path) as served:
        async for piece in served.client.fetch_artifact("one", "log"):
            first = piece.data
            break
        rest = [piece async for piece in served.client.fetch_artifact("one", "log", offset=len(first))]
        assert first + b"".join(piece.data for piece in rest) == path.read_bytes()
        assert {piece.total_byte_count for piece in rest} == {path.stat().st_size}


async def test_artifacts_that_are_not_there_or_were_changed_are_refused(tmp_path: Path) -> None:
    path = leave_behind(tmp_path, "one", "log", b"said")
    async with serving(ScriptedExecutor(0.0), tmp_path) as served:
        for name, offset, error in (
            ("metrics", 0, NotFoundError),
            ("../journal.db", 0, NotFoundError),
            ("log", 5, InvalidArgumentError),
        ):
            with pytest.raises(error):
                await receive(served.client.fetch_artifact("one", name, offset=offset))
        path.write_bytes(b"else")
        with pytest.raises(DataLossError) as caught:
            await receive(served.client.fetch_artifact("one", "log"))
        assert caught.value.reason == "ARTIFACT_DAMAGED"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
async def test_a_gigabyte_of_output_is_kept_and_fetched_in_bounded_memory(
    tmp_path: Path, tiny_data: Path
) -> None:
    await print_and_fetch(tmp_path, tiny_data, 1 << 30)


async def print_and_fetch(state: Path, data: Path, byte_count: int) -> None:
    """A run that prints so much, then its log fetched by a client that pauses in the middle."""
    flags = ("--output-limit-mib", str(2 * byte_count / MIB), "--scratch-limit-gib", "8")
    async with trainerd(state, data, *flags) as daemon:
        await print_lines(daemon.client, "warm", 5_000)
        onlooker = Onlooker(daemon)
        watching = asyncio.create_task(onlooker.look())
        began = time.monotonic()
        experiment = await print_lines(daemon.client, "loud", byte_count // 2_000)
        printed = time.monotonic()
        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE)]
        async with grpc.aio.insecure_channel(daemon.client.target, options=options) as channel:
            ask = pb.FetchArtifactRequest(experiment_id="loud", name="log")
            call = rpc.TrainerServiceStub(channel).FetchArtifact(ask, timeout=900)
            count, seen, announced = await receive(pausing(call))
        fetched = time.monotonic()
        watching.cancel()
    print(
        f"{count / MIB:.0f} MiB printed in {printed - began:.0f} s, fetched in {fetched - printed:.0f} s; "
        f"the daemon grew by at most {onlooker.grown / MIB:.1f} MiB, its slowest answer took "
        f"{onlooker.slowest * 1e3:.0f} ms"
    )
    assert count >= byte_count // 2_000 * 2_000
    assert seen == announced == experiment.result.artifacts["log"]
    assert onlooker.grown <= 20 * MIB


async def print_lines(client: TrainerClient, name: str, count: int) -> pb.Experiment:
    """A run that prints lines of 2,000 bytes, once it has ended as it must."""
    source = PRINTING.format(count=count)
    await client.start(request(name, source, preset="tiny", origin=pb.SOURCE_ORIGIN_USER))
    while (experiment := await client.get(name)).state not in ENDED:
        await asyncio.sleep(0.2)
    assert experiment.result.failure_message.startswith("the process ended with code 7"), experiment.result
    return experiment


async def pausing(pieces: AsyncIterable[pb.FetchArtifactResponse]) -> AsyncIterator[pb.FetchArtifactResponse]:
    number = 0
    async for piece in pieces:
        yield piece
        number += 1
        if number == 50:
            await asyncio.sleep(5)


class Onlooker:
    """Asks the daemon for its experiments ten times a second; how long that took, and how large it became."""

    def __init__(self, daemon: Daemon) -> None:
        self._client, self._process = daemon.client, psutil.Process(daemon.process.pid)
        self._before = self._process.memory_info().rss
        self.slowest, self.grown = 0.0, 0

    async def look(self) -> None:
        while True:
            began = time.monotonic()
            await self._client.list_experiments()
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.grown = max(self.grown, self._process.memory_info().rss - self._before)
            await asyncio.sleep(0.1)
