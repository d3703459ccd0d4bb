"""AgentService: requests in, answers out; all work is done elsewhere."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from autoresearch.agent.v1 import agent_pb2 as pb
from autoresearch.agent.v1 import agent_pb2_grpc as rpc

from agent.ledger.records import SessionState
from agent.llm.messages import event_message, progress_message, proposal_message, session_message
from agent.session.session import Session
from agent.session.sessions import Sessions
from agent.session.start_options import StartOptions
from agent.tools.by_hand import call_by_hand, tool_messages
from services.errors import InvalidArgumentError
from services.positions import is_position

SERVICE_NAME = "autoresearch.agent.v1.AgentService"
EVENTS_PER_READ = 200
PROGRESS_SECONDS = 0.2
Context = grpc.aio.ServicerContext[Any, Any]


class AgentServicer(rpc.AgentServiceServicer):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def StartSession(
        self, request: pb.StartSessionRequest, context: Context
    ) -> pb.StartSessionResponse:
        session, resumed = await self._sessions.start(read_start(request))
        return pb.StartSessionResponse(session=describe(session), resumed=resumed)

    async def WatchSession(
        self, request: pb.WatchSessionRequest, context: Context
    ) -> AsyncIterator[pb.WatchSessionResponse]:
        after, shown, told = request.after_sequence, None, 0.0
        while True:
            session = self._sessions.find(request.session_id)
            changed = session.ledger.next_change()
            stopped = self._sessions.is_over(session)
            events = session.ledger.events(session.session_id, after, EVENTS_PER_READ)
            for event in events:
                yield event_message(event, session.ledger, str(session.lab))
                after = event.sequence
            if len(events) == EVENTS_PER_READ:
                continue
            if stopped:
                return
            now = time.monotonic()
            news = session.progress is not None and session.progress is not shown
            if news and session.progress is not None and now - told >= PROGRESS_SECONDS:
                shown, told = session.progress, now
                yield progress_message(session.progress, session.progress_number)
            await changed.wait()

    async def StopSession(self, request: pb.StopSessionRequest, context: Context) -> pb.StopSessionResponse:
        return pb.StopSessionResponse(session=describe(await self._sessions.stop(request.session_id)))

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.GetSessionResponse:
        return pb.GetSessionResponse(session=describe(self._sessions.find(request.session_id)))

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        return pb.ListSessionsResponse(sessions=[describe(session) for session in self._sessions.all()])

    async def ListProposals(
        self, request: pb.ListProposalsRequest, context: Context
    ) -> pb.ListProposalsResponse:
        session = self._sessions.find(request.session_id)
        if not 0 <= request.page_size <= 500:
            raise InvalidArgumentError(f"page_size: {request.page_size} must be 0 to 500", field="page_size")
        size = request.page_size or 100
        after = read_page_token(request.page_token)
        found = session.ledger.proposals.page(session.session_id, after, size + 1)
        page = found[:size]
        return pb.ListProposalsResponse(
            proposals=[
                proposal_message(item, session.ledger.runs.of_proposal(session.session_id, item.number))
                for item in page
            ],
            next_page_token=str(page[-1].number) if len(found) > size else "",
        )

    async def ListTools(self, request: pb.ListToolsRequest, context: Context) -> pb.ListToolsResponse:
        return pb.ListToolsResponse(tools=tool_messages())

    async def CallTool(self, request: pb.CallToolRequest, context: Context) -> pb.CallToolResponse:
        session = self._sessions.find(request.session_id)
        answer = await call_by_hand(session, request.name, request.arguments_json)
        return pb.CallToolResponse(result_json=answer.text, failed=answer.failed)


def describe(session: Session) -> pb.Session:
    record = session.record
    if session.unwritten_end is not None and not session.running:
        reason, detail = session.unwritten_end
        record = replace(record, state=SessionState.STOPPED, stop_reason=reason, stop_detail=detail)
    totals = session.ledger.totals(session.session_id)
    last = session.ledger.last_sequence(session.session_id)
    return session_message(record, totals, str(session.lab), last)


def read_start(request: pb.StartSessionRequest) -> StartOptions:
    """Raises InvalidArgumentError for an empty lab."""
    if not request.lab:
        raise InvalidArgumentError("lab: name the lab's folder on this daemon's host", field="lab")
    limits = request.limits
    seconds = request.time_budget.ToMilliseconds() / 1000 if request.HasField("time_budget") else None
    return StartOptions(
        lab=Path(request.lab),
        tag=request.tag,
        provider=request.provider,
        model=request.model,
        base_url=request.base_url,
        script=request.script,
        preset=request.preset,
        time_budget=seconds,
        max_experiments=request.max_experiments if request.HasField("max_experiments") else None,
        additional_experiments=(
            request.additional_experiments if request.HasField("additional_experiments") else None
        ),
        max_cost_usd=limits.max_cost_usd if limits.HasField("max_cost_usd") else None,
        max_tokens=limits.max_tokens if limits.HasField("max_tokens") else None,
        max_hours=limits.max_hours if limits.HasField("max_hours") else None,
        max_device_seconds=limits.max_device_seconds if limits.HasField("max_device_seconds") else None,
        manual=request.manual,
        unsafe=request.unsafe,
    )


def read_page_token(token: str) -> int:
    """Raises InvalidArgumentError (INVALID_PAGE_TOKEN)."""
    if not token:
        return -1
    if not is_position(token):
        raise InvalidArgumentError(
            f"page_token: {token!r} was not given out here", field="page_token", reason="INVALID_PAGE_TOKEN"
        )
    return int(token)
