"""trainerd: the composition root. Other verbs (`train`, `prepare`, `bench`, …) are in trainer/verbs.py."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiohttp import web
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from services.addresses import parse_address
from services.call_observer import CallObserver
from services.http_server import HttpServer
from services.lifecycle import announce, wait_for_end
from services.logs import configure_logs
from services.rpc_server import GrpcServer
from services.settings import load_settings, run_main
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
    registry, security = CollectorRegistry(), settings.security()
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_state(settings.state))
        journal = stack.enter_context(Journal(settings.state / "journal.db"))
        executor = await open_executor(settings)
        experiments = Experiments(
            journal, executor, settings.state / "runs", queue_capacity=settings.queue_capacity, now=time.time
        )
        await stack.enter_async_context(experiments)
        add_gauges(registry, experiments)
        server = GrpcServer(
            parse_address(settings.listen, name="--listen"),
            security=security,
            observer=CallObserver(registry),
            with_reflection=settings.reflection,
            drain_seconds=min(settings.drain_seconds, 1.5),  # watches of running experiments would not end
        )
        servicer = TrainerServicer(
            experiments, executor, settings.data, queue_capacity=settings.queue_capacity
        )
        server.add(rpc.add_TrainerServiceServicer_to_server, servicer, SERVICE_NAME)
        http_address = parse_address(settings.http_listen, name="--http-listen")
        http = HttpServer(http_address, web.Application(), security=security, registry=registry)
        await stack.enter_async_context(http)
        await stack.enter_async_context(server)
        announce("trainerd", {"grpc": str(server.address), "http": str(http.address)})
        await wait_for_end(with_parent=settings.exit_with_parent)


def run(arguments: Sequence[str]) -> int:
    code = run_verb(arguments)
    if code is not None:
        return code
    settings = load_settings(TrainerSettings, arguments)
    configure_logs("trainerd", settings.log_level)
    asyncio.run(serve(settings))
    return 0


def main() -> None:
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
