"""trainerd: the composition root. Other verbs (`train`, `prepare`, `bench`, …) are in trainer/verbs.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiohttp import web
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from services.daemon import Servers, run_daemon
from services.settings import run_main
from trainer.executors import open_executor
from trainer.experiments import Experiments
from trainer.grpc_api import SERVICE_NAME, TrainerServicer
from trainer.http_api import add_gauges
from trainer.journal import Journal
from trainer.settings import TrainerSettings
from trainer.state_lock import lock_state
from trainer.verbs import run_verb


async def serve(settings: TrainerSettings) -> None:
    """Serves until a signal comes."""
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_state(settings.state))
        journal = stack.enter_context(Journal(settings.state / "journal.db"))
        executor = await open_executor(settings)
        experiments = Experiments(
            journal,
            executor,
            settings.state / "runs",
            queue_capacity=settings.queue_capacity,
            now=time.time,
            hand_over=not settings.exit_with_parent,
        )
        await stack.enter_async_context(experiments)
        add_gauges(registry, experiments)
        drain_seconds = min(settings.drain_seconds, 1.5)  # watches of running experiments would not end
        servers = Servers(settings, web.Application(), registry, drain_seconds=drain_seconds)
        servicer = TrainerServicer(
            experiments, executor, settings.data, queue_capacity=settings.queue_capacity
        )
        servers.add(rpc.add_TrainerServiceServicer_to_server, servicer, SERVICE_NAME)
        await stack.enter_async_context(servers)
        await servers.serve_until_end()


def run(arguments: Sequence[str]) -> int:
    code = run_verb(arguments)
    return run_daemon(TrainerSettings, arguments, serve) if code is None else code


def main() -> None:
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
