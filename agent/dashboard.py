"""The live page of agentd at /: sessions, proposals and what is going on, by server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any

from aiohttp import web
from autoresearch.agent.v1 import agent_pb2 as pb
from autoresearch.agent.v1 import agent_pb2_grpc as rpc

from agent.session.session_json import event_dict, proposal_dict, session_dict
from services.errors import InvalidArgumentError
from services.positions import is_position

PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/dashboard.js": ("dashboard.js", "text/javascript"),
    "/dashboard.css": ("dashboard.css", "text/css"),
}
# Everything comes from this server, and text of a model can never become a script.
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
KEEP_ALIVE_SECONDS = 15.0


def add_dashboard_routes(application: web.Application, service: rpc.AgentServiceServicer) -> None:
    """Adds the page, /api/sessions, /api/sessions/ID and /api/sessions/ID/events, all read-only.

    `service` is asked as its gRPC callers ask it, so the page shows what every other client sees.
    """
    dashboard = Dashboard(service)
    for path in PAGE_FILES:
        application.router.add_get(path, dashboard.page)
    application.router.add_get("/api/sessions", dashboard.sessions)
    application.router.add_get("/api/sessions/{session_id}", dashboard.session)
    application.router.add_get("/api/sessions/{session_id}/events", dashboard.events)


class Dashboard:
    def __init__(self, service: rpc.AgentServiceServicer) -> None:
        self._service: Any = service  # the generated base class is not typed for in-process calls

    async def page(self, request: web.Request) -> web.Response:
        name, content_type = PAGE_FILES[request.path]
        text = resources.files("agent.dashboard_page").joinpath(name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=content_type, charset="utf-8", headers=SAFE_HEADERS)

    async def sessions(self, request: web.Request) -> web.Response:
        answer = await self._service.ListSessions(pb.ListSessionsRequest(), None)
        return _json({"sessions": [session_dict(session) for session in answer.sessions]})

    async def session(self, request: web.Request) -> web.Response:
        """A session with all its proposals, as it stands after the event `last_sequence`."""
        session_id = request.match_info["session_id"]
        answer = await self._service.GetSession(pb.GetSessionRequest(session_id=session_id), None)
        proposals: list[dict[str, object]] = []
        token = ""
        while True:
            wanted = pb.ListProposalsRequest(session_id=session_id, page_size=200, page_token=token)
            page = await self._service.ListProposals(wanted, None)
            proposals += [proposal_dict(proposal) for proposal in page.proposals]
            token = page.next_page_token
            if not token:
                return _json({"session": session_dict(answer.session), "proposals": proposals})
            await asyncio.sleep(0)  # a long ledger must not hold up the loop of a running session

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Events after Last-Event-ID (or ?after=), each once; `end` when the session has stopped."""
        session_id = request.match_info["session_id"]
        after = _after(request)
        await self._service.GetSession(pb.GetSessionRequest(session_id=session_id), None)  # NOT_FOUND here
        response = web.StreamResponse(headers=SAFE_HEADERS | {"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n")
        wanted = pb.WatchSessionRequest(session_id=session_id, after_sequence=after)
        stream = self._service.WatchSession(wanted, None)
        try:
            async for event in _with_pauses(stream):
                await response.write(b": alive\n\n" if event is None else encode_event(event))
            await response.write(b"event: end\ndata: {}\n\n")
        except ConnectionResetError:
            pass  # the page was closed; it resumes by Last-Event-ID when it is opened again
        finally:
            await stream.aclose()
        return response


def encode_event(event: pb.WatchSessionResponse) -> bytes:
    """One server-sent event. Progress carries no id, because it is not replayed."""
    value = event_dict(event)
    number = f"id: {event.sequence}\n" if event.sequence else ""
    data = json.dumps(value, ensure_ascii=False)
    return f"{number}event: {value['type']}\ndata: {data}\n\n".encode()


async def _with_pauses(
    stream: AsyncIterator[pb.WatchSessionResponse],
) -> AsyncIterator[pb.WatchSessionResponse | None]:
    """The events, and None where none came for a while, so that a closed connection is noticed."""

    async def step() -> pb.WatchSessionResponse:
        return await anext(stream)

    pending = asyncio.create_task(step())
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield None
                continue
            try:
                yield pending.result()
            except StopAsyncIteration:
                return
            pending = asyncio.create_task(step())
    finally:
        pending.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
            await pending


def _after(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID") or request.query.get("after", "0")
    if not is_position(text):
        raise InvalidArgumentError(f"after: {text!r} must be a whole number", field="after")
    return int(text)


def _json(value: dict[str, object]) -> web.Response:
    return web.json_response(
        value, headers=SAFE_HEADERS, dumps=lambda item: json.dumps(item, ensure_ascii=False)
    )
