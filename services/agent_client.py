"""Typed client of AgentService. Methods raise the errors that the proto documents."""

from __future__ import annotations

from collections.abc import AsyncIterator

from autoresearch.agent.v1 import agent_pb2 as pb
from autoresearch.agent.v1 import agent_pb2_grpc as rpc

from services.client import ServiceClient
from services.security import ClientSecurity
from services.watching import resume_stream


class AgentClient(ServiceClient):
    def __init__(self, target: str, *, security: ClientSecurity | None = None, timeout: float = 10.0) -> None:
        super().__init__(target, security=security, timeout=timeout)
        self._stub = rpc.AgentServiceStub(self._channel)

    async def start_session(self, request: pb.StartSessionRequest) -> pb.StartSessionResponse:
        """Starts or resumes the session of a tag; a second call returns the running one."""
        return await self._call(self._stub.StartSession, request, timeout=120.0)

    def watch_session(
        self, session_id: str, *, after_sequence: int = 0, timeout: float = 3600.0
    ) -> AsyncIterator[pb.WatchSessionResponse]:
        """Every event once and in order, across broken links, until the session has stopped."""

        def open_stream(after: int) -> AsyncIterator[pb.WatchSessionResponse]:
            request = pb.WatchSessionRequest(session_id=session_id, after_sequence=after)
            return self._stream(self._stub.WatchSession, request, timeout=timeout)

        return resume_stream(open_stream, after_sequence=after_sequence)

    async def stop_session(self, session_id: str) -> pb.Session:
        request = pb.StopSessionRequest(session_id=session_id)
        return (await self._call(self._stub.StopSession, request, timeout=30.0)).session

    async def get_session(self, session_id: str) -> pb.Session:
        return (await self._call(self._stub.GetSession, pb.GetSessionRequest(session_id=session_id))).session

    async def list_sessions(
        self, *, wait_for_ready: bool = False, timeout: float | None = None
    ) -> list[pb.Session]:
        request = pb.ListSessionsRequest()
        response = await self._call(
            self._stub.ListSessions, request, wait_for_ready=wait_for_ready, timeout=timeout
        )
        return list(response.sessions)

    async def list_proposals(
        self, session_id: str, *, page_size: int = 100, page_token: str = ""
    ) -> pb.ListProposalsResponse:
        request = pb.ListProposalsRequest(session_id=session_id, page_size=page_size, page_token=page_token)
        return await self._call(self._stub.ListProposals, request)

    async def list_tools(self) -> list[pb.Tool]:
        return list((await self._call(self._stub.ListTools, pb.ListToolsRequest())).tools)

    async def call_tool(
        self, session_id: str, name: str, arguments_json: str, *, timeout: float = 3600.0
    ) -> pb.CallToolResponse:
        """Calls a tool once: it may have effects, so that a lost answer is an UnavailableError."""
        request = pb.CallToolRequest(session_id=session_id, name=name, arguments_json=arguments_json)
        return await self._call(self._stub.CallTool, request, timeout=timeout, repeat=False)
