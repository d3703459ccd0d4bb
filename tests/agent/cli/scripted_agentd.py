"""A small AgentService on a real socket that plays a fixed session; also runs as a child (`python -m`)."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web
from autoresearch.agent.v1 import agent_pb2 as pb
from autoresearch.agent.v1 import agent_pb2_grpc as rpc
from prometheus_client import CollectorRegistry

from services import errors
from services.addresses import Address, parse_address
from services.call_observer import CallObserver
from services.http_server import HttpServer
from services.lifecycle import announce, wait_for_end
from services.rpc_server import GrpcServer
from services.security import ServerSecurity
from services.settings import run_main

NAME = "autoresearch.agent.v1.AgentService"


def baseline() -> pb.Proposal:
    proposal = pb.Proposal(
        number=0, proposal_id="s-p0", description="baseline", state=pb.PROPOSAL_STATE_RECORDED,
        verdict=pb.VERDICT_BASELINE, commit="a" * 40, val_bpb=2.0, memory_gb=0.4,
    )  # fmt: skip
    for index, value in enumerate((2.001, 1.999)):
        proposal.runs.add(experiment_id=f"s-p0-b{index}", seed=7 + index, val_bpb=value).duration.seconds = 11
    return proposal


def kept(verdict: pb.Verdict.ValueType = pb.VERDICT_KEEP) -> pb.Proposal:
    proposal = pb.Proposal(
        number=1, proposal_id="s-p1", description="DEPTH 4 -> 5\x1b[31m", state=pb.PROPOSAL_STATE_RECORDED,
        verdict=verdict, reason="better by 4.0 sigma", commit="b" * 40, val_bpb=1.9,
        difference=-0.1, difference_error=0.01, memory_gb=0.5,
    )  # fmt: skip
    proposal.runs.add(experiment_id="s-p1-c0", seed=2**63, val_bpb=1.9).duration.seconds = 12
    proposal.runs.add(experiment_id="s-p1-i0", seed=2**63, val_bpb=2.0, incumbent=True).duration.seconds = 12
    return proposal


class ScriptedAgent(rpc.AgentServiceServicer):
    """`endless` never stops by itself, else it ends by `stop_reason`; `broken_streams` are cut after two."""

    def __init__(
        self,
        *,
        endless: bool = False,
        stop_reason: pb.StopReason.ValueType = pb.STOP_REASON_EXPERIMENT_LIMIT,
        broken_streams: int = 0,
        refusal: errors.ServiceError | None = None,
        slow_stop: float = 0.0,
    ) -> None:
        self.requests: list[pb.StartSessionRequest] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.stopped = asyncio.Event()
        self._endless = endless
        self._stop_reason = stop_reason
        self._broken_streams = broken_streams
        self._refusal = refusal
        self._slow_stop = slow_stop
        self._proposals = [baseline(), kept()]
        schema = json.dumps({"type": "object", "properties": {"query": {"type": "string"}}})
        self.tools = [pb.Tool(name="recall", description="Searches memory.", parameters_json_schema=schema)]

    def session(self, *, stopped: bool = False) -> pb.Session:
        request = self.requests[-1] if self.requests else pb.StartSessionRequest(lab="/lab", tag="lab")
        session = pb.Session(
            session_id="s", state=pb.SESSION_STATE_RUNNING, lab=request.lab, tag=request.tag,
            provider="search", proposal_count=1, kept_count=1, run_count=4,
            baseline_val_bpb=2.0, best_val_bpb=1.9,
            noise_sigma=0.012, entropy_source="os", device_class="cpu",
        )  # fmt: skip
        session.start_time.seconds = 1_800_000_000
        if request.manual and not stopped:
            session.state = pb.SESSION_STATE_MANUAL
        if stopped:
            session.state = pb.SESSION_STATE_STOPPED
            session.stop_reason = self._stop_reason if not self._endless else pb.STOP_REASON_REQUESTED
        return session

    async def StartSession(self, request: pb.StartSessionRequest, context: Any) -> pb.StartSessionResponse:
        if self._refusal is not None:
            raise self._refusal
        self.requests.append(request)
        return pb.StartSessionResponse(session=self.session())

    async def WatchSession(
        self, request: pb.WatchSessionRequest, context: Any
    ) -> AsyncIterator[pb.WatchSessionResponse]:
        measuring = self.session()
        measuring.state = pb.SESSION_STATE_MEASURING_NOISE
        events = [
            pb.WatchSessionResponse(sequence=1, session=measuring),
            pb.WatchSessionResponse(sequence=2, message="seeds from the operating system"),
            pb.WatchSessionResponse(sequence=3, proposal=self._proposals[0]),
            pb.WatchSessionResponse(sequence=4, proposal=self._proposals[1]),
        ]
        for event in events[request.after_sequence :]:
            if self._broken_streams and event.sequence == request.after_sequence + 3:
                self._broken_streams -= 1
                raise errors.UnavailableError("cut")
            yield event
        yield pb.WatchSessionResponse(
            progress=pb.RunProgress(
                experiment_id="s-p2-c0", proposal_number=2, progress=0.5, stage="training"
            )
        )
        if self._endless:
            await self.stopped.wait()
        yield pb.WatchSessionResponse(sequence=5, session=self.session(stopped=True))

    async def StopSession(self, request: pb.StopSessionRequest, context: Any) -> pb.StopSessionResponse:
        await asyncio.sleep(self._slow_stop)
        self.stopped.set()
        return pb.StopSessionResponse(session=self.session(stopped=True))

    async def GetSession(self, request: pb.GetSessionRequest, context: Any) -> pb.GetSessionResponse:
        return pb.GetSessionResponse(session=self.session(stopped=True))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Any) -> pb.ListSessionsResponse:
        return pb.ListSessionsResponse(sessions=[self.session()])

    async def ListProposals(self, request: pb.ListProposalsRequest, context: Any) -> pb.ListProposalsResponse:
        start = int(request.page_token or 0)
        page = self._proposals[start : start + 1]
        token = str(start + 1) if start + 1 < len(self._proposals) else ""
        return pb.ListProposalsResponse(proposals=page, next_page_token=token)

    async def ListTools(self, request: pb.ListToolsRequest, context: Any) -> pb.ListToolsResponse:
        return pb.ListToolsResponse(tools=self.tools)

    async def CallTool(self, request: pb.CallToolRequest, context: Any) -> pb.CallToolResponse:
        arguments = json.loads(request.arguments_json)
        self.calls.append((request.name, arguments))
        if request.name == "unknown":
            raise errors.NotFoundError("there is no tool 'unknown'", reason="TOOL_NOT_FOUND")
        failed = request.name == "keep"
        return pb.CallToolResponse(result_json=json.dumps({"seen": arguments}), failed=failed)


@asynccontextmanager
async def serve_agent(servicer: ScriptedAgent, security: ServerSecurity | None = None) -> AsyncIterator[str]:
    server = GrpcServer(
        Address("127.0.0.1", 0),
        security=security or ServerSecurity(),
        observer=CallObserver(CollectorRegistry()),
        drain_seconds=0.1,
    )
    server.add(rpc.add_AgentServiceServicer_to_server, servicer, NAME)
    async with server:
        yield str(server.address)


async def serve_child(arguments: list[str]) -> None:
    """A daemon with the flags that the launcher gives; extra flags are ignored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--http-listen", default="127.0.0.1:0")
    parser.add_argument("--endless", action="store_true")
    parser.add_argument("--slow-stop", type=float, default=0.0)
    known, _ = parser.parse_known_args(arguments)
    registry, security = CollectorRegistry(), ServerSecurity()
    async with AsyncExitStack() as stack:
        server = GrpcServer(
            parse_address(known.listen, name="--listen"),
            security=security,
            observer=CallObserver(registry),
            drain_seconds=0.1,
        )
        agent = ScriptedAgent(endless=known.endless, slow_stop=known.slow_stop)
        server.add(rpc.add_AgentServiceServicer_to_server, agent, NAME)
        http = HttpServer(
            parse_address(known.http_listen), web.Application(), security=security, registry=registry
        )
        await stack.enter_async_context(http)
        await stack.enter_async_context(server)
        announce("scripted", {"grpc": str(server.address), "http": str(http.address)})
        await wait_for_end(with_parent=True)


if __name__ == "__main__":
    import sys

    sys.exit(run_main(lambda arguments: asyncio.run(serve_child(arguments))))
