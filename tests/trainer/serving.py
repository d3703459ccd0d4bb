"""A trainer served on a free port of this process, for tests that talk to it as a client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from services.addresses import Address
from services.call_observer import CallObserver
from services.rpc_server import GrpcServer
from services.security import ServerSecurity
from services.trainer_client import TrainerClient
from trainer.executor import Executor
from trainer.experiments import Experiments
from trainer.grpc_api import SERVICE_NAME, TrainerServicer
from trainer.journal import Journal


@dataclass
class Served:
    client: TrainerClient
    experiments: Experiments
    journal: Journal
    target: str


@asynccontextmanager
async def serving(
    executor: Executor, state: Path, data: Path = Path("/nonexistent"), capacity: int = 16
) -> AsyncIterator[Served]:
    async with AsyncExitStack() as stack:
        journal = stack.enter_context(Journal(state / "journal.db"))
        experiments = Experiments(journal, executor, state / "runs", queue_capacity=capacity, now=time.time)
        await stack.enter_async_context(experiments)
        server = GrpcServer(
            Address("127.0.0.1", 0),
            security=ServerSecurity(),
            observer=CallObserver(CollectorRegistry()),
            drain_seconds=0.2,
        )
        servicer = TrainerServicer(experiments, executor, data, queue_capacity=capacity)
        server.add(rpc.add_TrainerServiceServicer_to_server, servicer, SERVICE_NAME)
        await stack.enter_async_context(server)
        client = await stack.enter_async_context(TrainerClient(str(server.address)))
        yield Served(client, experiments, journal, str(server.address))


def request(
    experiment_id: str, source: str = "DEPTH = 4\n", seed: int = 1, **more: object
) -> pb.StartExperimentRequest:
    """A request as an agent makes it."""
    return pb.StartExperimentRequest(
        experiment_id=experiment_id,
        train_source=source,
        seed=pb.SeedGrant(value=seed),
        **more,  # type: ignore[arg-type]
    )


async def watch_to_end(
    client: TrainerClient, experiment_id: str, after: int = 0
) -> list[pb.WatchExperimentResponse]:
    return [event async for event in client.watch(experiment_id, after_sequence=after, timeout=100)]
