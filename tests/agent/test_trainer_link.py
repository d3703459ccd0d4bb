"""What the agent makes of a trainer that breaks off: a real server that plays it, over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from agent.lab.champion import Champion
from agent.ledger.ledger import Ledger
from agent.ledger.records import RunKind, RunRecord, SessionRecord, SessionState, Setup
from agent.session.training import Training
from services.addresses import Address
from services.call_observer import CallObserver
from services.rpc_server import GrpcServer
from services.security import ServerSecurity
from services.trainer_client import TrainerClient


class ScriptedTrainer(rpc.TrainerServiceServicer):
    """Ends every stream before its experiment, which has succeeded when it is started a second time."""

    def __init__(self) -> None:
        self.starts = 0

    async def StartExperiment(
        self, request: pb.StartExperimentRequest, context: Any
    ) -> pb.StartExperimentResponse:
        self.starts += 1
        return pb.StartExperimentResponse(experiment=self._experiment(request.experiment_id))

    async def WatchExperiment(
        self, request: pb.WatchExperimentRequest, context: Any
    ) -> AsyncIterator[pb.WatchExperimentResponse]:
        yield pb.WatchExperimentResponse(sequence=1, state=self._experiment(request.experiment_id))

    async def GetExperiment(self, request: pb.GetExperimentRequest, context: Any) -> pb.GetExperimentResponse:
        return pb.GetExperimentResponse(experiment=self._experiment(request.experiment_id))

    async def FetchArtifact(
        self, request: pb.FetchArtifactRequest, context: Any
    ) -> AsyncIterator[pb.FetchArtifactResponse]:
        await asyncio.sleep(0.01)  # so that the fetches of two callers mix
        yield pb.FetchArtifactResponse(data=f"{request.experiment_id} {request.name}".encode())

    def _experiment(self, experiment_id: str) -> pb.Experiment:
        state = pb.EXPERIMENT_STATE_TRAINING if self.starts < 2 else pb.EXPERIMENT_STATE_SUCCEEDED
        experiment = pb.Experiment(experiment_id=experiment_id, state=state)
        experiment.result.artifacts.update({"config.json": "", "model.safetensors": ""})
        return experiment


@asynccontextmanager
async def scripted_trainer(servicer: ScriptedTrainer) -> AsyncIterator[TrainerClient]:
    server = GrpcServer(
        Address("127.0.0.1", 0),
        security=ServerSecurity(),
        observer=CallObserver(CollectorRegistry()),
        drain_seconds=0.1,
    )
    name = "autoresearch.trainer.v1.TrainerService"
    server.add(rpc.add_TrainerServiceServicer_to_server, servicer, name)
    async with server:
        client = TrainerClient(str(server.address))
        async with client:
            yield client


async def test_a_stream_that_ends_early_is_no_result() -> None:
    trainer = ScriptedTrainer()  # type: ignore[abstract]

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    async with scripted_trainer(trainer) as client:
        request = pb.StartExperimentRequest(experiment_id="e")
        done = await Training(client, sleep=sleep).run(request, lambda progress: None)
    assert done.state == pb.EXPERIMENT_STATE_SUCCEEDED
    assert trainer.starts == 2


async def test_two_keeps_in_a_row_do_not_mix_their_files(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db", clock=lambda: 100.0)
    first, second = ledger.put_text("source", "A = 1\n"), ledger.put_text("source", "A = 2\n")
    setup = Setup("cpu", "tokens", 1e5)
    ledger.add_session(
        SessionRecord("lab-1", "lab", SessionState.RUNNING, "search", "", setup, 1, 1, tip_source_hash=first)
    )
    for number, source in enumerate((first, second)):
        run = RunRecord(f"e{number}", "lab-1", number, RunKind.CANDIDATE, 0, 0, 42, 0, source, 3.0)
        ledger.runs.put(replace(run, ended=True, val_bpb=1.5))
    trainer = ScriptedTrainer()  # type: ignore[abstract]
    async with scripted_trainer(trainer) as client:
        champion = Champion(ledger, "lab-1", tmp_path, client)
        earlier = asyncio.create_task(champion.refresh())
        await asyncio.sleep(0)
        ledger.update_session("lab-1", tip_source_hash=second)
        assert await champion.refresh()
        assert await earlier
    best = tmp_path / "best"
    assert (best / "train.py").read_text(encoding="utf-8") == "A = 2\n"
    texts = [(best / name).read_text(encoding="utf-8") for name in ("config.json", "model.safetensors")]
    assert texts == ["e1 config.json", "e1 model.safetensors"]
