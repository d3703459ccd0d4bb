"""One tool call: the session is opened for it, and closed again where its daemons were started for it."""

from __future__ import annotations

from autoresearch.agent.v1 import agent_pb2 as pb

from agent.cli.console import print_note
from agent.cli.interrupts import Interrupted, catch_interrupts, unless_interrupted
from agent.cli.lab_daemons import open_agent
from agent.launch.plan import LaunchOptions
from services.errors import CanceledError
from services.security import ClientSecurity


async def call_tool(
    agent: str,
    security: ClientSecurity | None,
    launch: LaunchOptions,
    session: pb.StartSessionRequest,
    name: str,
    arguments_json: str,
) -> pb.CallToolResponse:
    """Raises the ServiceError that agentd answers, and CanceledError on Ctrl-C."""

    async def work() -> pb.CallToolResponse:
        async with open_agent(agent, security, launch, note=print_note) as link:
            opened = (await link.client.start_session(session)).session
            try:
                return await link.client.call_tool(opened.session_id, name, arguments_json)
            finally:
                if link.stack is not None:
                    await link.client.stop_session(opened.session_id)

    with catch_interrupts() as asked:
        try:
            return await unless_interrupted(work(), asked)
        except Interrupted:
            raise CanceledError("interrupted; what the tool had begun is in the ledger") from None
