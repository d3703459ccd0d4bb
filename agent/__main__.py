"""agentd: the composition root."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiohttp import web
from autoresearch.agent.v1 import agent_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from agent.dashboard import add_dashboard_routes
from agent.grpc_api import SERVICE_NAME, AgentServicer
from agent.llm.prices import read_prices
from agent.session.metrics import SessionCollector
from agent.session.session import Peers
from agent.session.sessions import Sessions
from agent.settings import AgentSettings, read_keys
from services.addresses import parse_address
from services.call_observer import CallObserver
from services.entropy_client import EntropyClient
from services.http_server import HttpServer
from services.lifecycle import announce, wait_for_end
from services.logs import configure_logs
from services.memory_client import MemoryClient
from services.rpc_server import GrpcServer
from services.settings import load_settings, run_main
from services.trainer_client import TrainerClient


async def serve(settings: AgentSettings) -> None:
    """Serves until a signal comes; running sessions are stopped and resume at their next start."""
    registry, security = CollectorRegistry(), settings.security()
    async with AsyncExitStack() as stack:
        peers = await open_peers(settings, stack)
        server = GrpcServer(
            parse_address(settings.listen, name="--listen"),
            security=security,
            observer=CallObserver(registry),
            with_reflection=settings.reflection,
            drain_seconds=min(settings.drain_seconds, 2.0),
        )
        sessions = Sessions(peers, read_keys(), address=lambda: str(server.address))
        stack.callback(sessions.close_ledgers)
        registry.register(SessionCollector(sessions))
        servicer = AgentServicer(sessions)
        server.add(rpc.add_AgentServiceServicer_to_server, servicer, SERVICE_NAME)
        application = web.Application()
        add_dashboard_routes(application, servicer)
        http = HttpServer(
            parse_address(settings.http_listen, name="--http-listen"),
            application,
            security=security,
            registry=registry,
        )
        await stack.enter_async_context(http)
        await stack.enter_async_context(server)
        stack.push_async_callback(sessions.close)  # before the server: watches end with their sessions
        announce("agentd", {"grpc": str(server.address), "http": str(http.address)})
        await wait_for_end(with_parent=settings.exit_with_parent)


async def open_peers(settings: AgentSettings, stack: AsyncExitStack) -> Peers:
    """Clients of the other daemons; nothing is connected yet. Raises ConfigurationError."""
    trainer = TrainerClient(
        str(parse_address(settings.trainer, name="--trainer")),
        security=settings.peer(settings.trainer_token_file, "--trainer-token-file"),
    )
    memory = entropy = None
    if settings.memory:
        memory = MemoryClient(
            str(parse_address(settings.memory, name="--memory")),
            security=settings.peer(settings.memory_token_file, "--memory-token-file"),
        )
        await stack.enter_async_context(memory)
    if settings.entropy:
        entropy = EntropyClient(
            str(parse_address(settings.entropy, name="--entropy")),
            security=settings.peer(settings.entropy_token_file, "--entropy-token-file"),
        )
        await stack.enter_async_context(entropy)
    await stack.enter_async_context(trainer)
    return Peers(
        trainer,
        memory,
        entropy,
        trainer_patience=settings.trainer_patience,
        proposal_limit=settings.proposal_limit_seconds,
        replicates=settings.replicates,
        prices=read_prices(settings.prices),
    )


def run(arguments: Sequence[str]) -> int:
    settings = load_settings(AgentSettings, arguments)
    configure_logs("agentd", settings.log_level)
    asyncio.run(serve(settings))
    return 0


def main() -> None:
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
