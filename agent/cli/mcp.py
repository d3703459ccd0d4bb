"""`autoresearch mcp`: the lab's tools for any coding agent that speaks MCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from autoresearch.agent.v1 import agent_pb2 as pb

from agent.cli import options as shared
from agent.cli.console import print_json, print_note
from agent.cli.exit_codes import ExitCode
from agent.cli.interrupts import Interrupted, catch_interrupts, unless_interrupted
from agent.launch.plan import LaunchOptions
from services.addresses import Address, parse_address
from services.agent_client import AgentClient
from services.security import ServerSecurity, read_secret


def mcp(
    lab: shared.Lab = shared.DEFAULT_LAB,
    tag: shared.Tag = shared.DEFAULT_TAG,
    data: shared.Data = None,
    http: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Serve streamable HTTP at /mcp there instead of stdio.")
    ] = "",
    http_token_file: Annotated[
        Path | None, typer.Option(help="File with the bearer token that HTTP clients must send.")
    ] = None,
    executor: Annotated[str, typer.Option(help="Executor of the lab's own trainerd, as in `run`.")] = "local",
    agent: shared.Agent = "",
    token_file: shared.TokenFile = None,
    ca: shared.CaFile = None,
    cert: shared.CertFile = None,
    key: shared.KeyFile = None,
) -> None:
    """Serve the ten tools of a lab to any MCP client: `claude mcp add lab -- autoresearch mcp --lab lab`.

    The lab's daemons are started if they do not run, and end with this command. Every answer comes within
    45 seconds; docs/cli.md has snippets for three clients.
    """
    session = pb.StartSessionRequest(
        lab=lab if agent else str(Path(lab).absolute()), tag=tag, provider="auto", manual=True
    )
    launch = LaunchOptions(lab=Path(lab).absolute(), data=shared.data_folder(data, lab), executor=executor)
    security = shared.client_security(token_file, ca, cert, key)
    guard = ServerSecurity(token=read_secret(http_token_file, "--http-token-file"))
    address = parse_address(http, name="--http") if http else None

    @asynccontextmanager
    async def connect() -> AsyncIterator[AgentClient]:
        from agent.cli.lab_daemons import open_agent

        async with open_agent(agent, security, launch, note=print_note) as link:
            yield link.client

    async def serve() -> ExitCode:
        from agent.mcp_bridge import open_bridge
        from agent.mcp_server import serve_http, serve_stdio

        async def work() -> None:
            async with open_bridge(connect, session) as bridge:
                if address is None:
                    await serve_stdio(bridge)
                    return
                async with serve_http(bridge, address, guard) as served:
                    announce_url(served)
                    await asyncio.Event().wait()

        with catch_interrupts() as asked:
            try:
                await unless_interrupted(work(), asked)
            except Interrupted:
                return ExitCode.INTERRUPTED if address is None else ExitCode.OK
        return ExitCode.OK

    raise typer.Exit(asyncio.run(serve()))


def announce_url(address: Address) -> None:
    """One JSON line on stdout, as daemons announce themselves."""
    print_json({"service": "mcp", "url": f"http://{address}/mcp"})
