"""The tools of a session for any MCP client: each answer within 45 seconds, each refusal as data."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from autoresearch.agent.v1 import agent_pb2 as pb

from services.agent_client import AgentClient
from services.errors import FailedPreconditionError, InternalError, NotFoundError, ServiceError

# Clients give up after 60 s; a run of 300 s is therefore waited for in several calls.
LONGEST_WAIT_SECONDS = 40.0
CALL_SECONDS = 55.0
WAIT_ARGUMENT = "wait_seconds"
_SESSION_GONE = frozenset({"SESSION_NOT_FOUND", "NO_SESSION_OPEN"})
OpenAgent = Callable[[], AbstractAsyncContextManager[AgentClient]]
log = logging.getLogger(__name__)


class ToolBridge:
    """Opens the session by hand at the first use and calls its tools. Use inside `open_bridge`."""

    def __init__(self, client: asyncio.Future[AgentClient], session: pb.StartSessionRequest) -> None:
        self._client = client
        self._request = session
        self._session_id = ""
        self._tools: dict[str, pb.Tool] = {}
        self._opening = asyncio.Lock()

    async def tools(self) -> list[pb.Tool]:
        """The tools with their schemas. Raises the ServiceError that kept the agent from answering."""
        async with self._opening:
            if not self._tools:
                client = await asyncio.shield(self._client)
                self._tools = {tool.name: tool for tool in await client.list_tools()}
        return list(self._tools.values())

    async def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """(JSON text of at most 4 KiB, whether the tool refused). Errors of the agent are refusals too."""
        try:
            await self.tools()
            client = await asyncio.shield(self._client)
            text = json.dumps(self._bounded(name, arguments))
            try:
                response = await self._ask(client, name, text)
            except (NotFoundError, FailedPreconditionError) as error:
                if error.reason not in _SESSION_GONE:
                    raise
                self._session_id = ""  # an agentd that was started again knows the lab once it is told of it
                response = await self._ask(client, name, text)
        except ServiceError as error:
            return json.dumps({"error": error.reason, "message": error.message}, ensure_ascii=False), True
        return response.result_json, response.failed

    async def _ask(self, client: AgentClient, name: str, text: str) -> pb.CallToolResponse:
        return await client.call_tool(await self._session(client), name, text, timeout=CALL_SECONDS)

    def _bounded(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with a wait of at most 40 s, where the tool knows one."""
        bounded = dict(arguments)
        tool = self._tools.get(name)
        schema = json.loads(tool.parameters_json_schema or "{}") if tool is not None else {}
        if WAIT_ARGUMENT in schema.get("properties", {}):
            asked = bounded.get(WAIT_ARGUMENT, LONGEST_WAIT_SECONDS)
            if isinstance(asked, (int, float)):
                bounded[WAIT_ARGUMENT] = min(float(asked), LONGEST_WAIT_SECONDS)
        return bounded

    async def _session(self, client: AgentClient) -> str:
        async with self._opening:
            if not self._session_id:
                self._session_id = (await client.start_session(self._request)).session.session_id
        return self._session_id


@asynccontextmanager
async def open_bridge(open_agent: OpenAgent, session: pb.StartSessionRequest) -> AsyncIterator[ToolBridge]:
    """Connects in the background, so that the MCP handshake is answered at once.

    Leaving stops what was started. What keeps the agent from starting is raised by the first call.
    """
    client: asyncio.Future[AgentClient] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def hold() -> None:
        try:
            async with open_agent() as opened:
                client.set_result(opened)
                await leave.wait()
        except ServiceError as error:
            if not client.done():
                client.set_exception(error)
        except Exception:
            log.exception("the agent could not be opened")
            if not client.done():  # every call would wait for ever
                client.set_exception(InternalError("the agent could not be opened; the log says why"))

    holder = asyncio.create_task(hold())
    try:
        yield ToolBridge(client, session)
    finally:
        leave.set()
        if not client.done():
            holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        if client.done() and not client.cancelled():
            client.exception()  # nobody may have asked
