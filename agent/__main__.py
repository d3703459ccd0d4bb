"""agentd: the composition root."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiohttp import web
from autoresearch.agent.v1 import agent_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from agent.dashboard import add_dashboard_routes
from agent.grpc_api import SERVICE_NAME, AgentServicer
from agent.launch.environment import forget_other_repository
from agent.llm.prices import read_prices
from agent.session.metrics import SessionCollector
from agent.session.session import Peers
from agent.session.sessions import Sessions
from agent.settings import AgentSettings, read_keys
from services.addresses import parse_address
from services.daemon import Servers, run_daemon
from services.entropy_client import EntropyClient
from services.memory_client import MemoryClient
from services.settings import run_main
from services.trainer_client import TrainerClient


async def serve(settings: AgentSettings) -> None:
    """Serves until a signal comes; running sessions are stopped and resume at their next start."""
    registry, application = CollectorRegistry(), web.Application()
    async with AsyncExitStack() as stack:
        peers = await open_peers(settings, stack)
        servers = Servers(settings, application, registry, drain_seconds=min(settings.drain_seconds, 2.0))
        sessions = Sessions(peers, read_keys(), address=lambda: str(servers.grpc.address))
        stack.callback(sessions.close_ledgers)
        registry.register(SessionCollector(sessions))
        servicer = AgentServicer(sessions)
        servers.add(rpc.add_AgentServiceServicer_to_server, servicer, SERVICE_NAME)
        add_dashboard_routes(application, servicer)
        await stack.enter_async_context(servers)
        stack.push_async_callback(sessions.close)  # before the servers: watches end with their sessions
        await servers.serve_until_end()


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
    forget_other_repository()
    return run_daemon(AgentSettings, arguments, serve)


def main() -> None:
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
