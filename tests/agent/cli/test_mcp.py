"""The MCP server: the official client against the real command, on stdio and over HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from autoresearch.agent.v1 import agent_pb2 as pb
from mcp import Client, StdioServerParameters

from agent.mcp_bridge import open_bridge
from services.agent_client import AgentClient
from services.errors import FailedPreconditionError, NotFoundError
from tests.agent.cli.command import run_command, start_command
from tests.agent.cli.scripted_agentd import ScriptedAgent, serve_agent


def parameters(*flags: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=["-m", "agent.cli", "mcp", *flags])


async def test_a_client_on_stdio_lists_and_calls_the_tools() -> None:
    agent = ScriptedAgent()
    async with (
        serve_agent(agent) as address,
        Client(parameters("--agent", address, "--lab", "/far")) as client,
    ):
        assert client.instructions is not None
        assert "research lab" in client.instructions
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == ["recall"]
        assert listed.tools[0].input_schema["properties"] == {"query": {"type": "string"}}
        done = await client.call_tool("recall", {"query": "wide nets"})
        refused = await client.call_tool("keep", {})
        unknown = await client.call_tool("unknown", {})
    assert json.loads(done.content[0].text) == {"seen": {"query": "wide nets"}}  # type: ignore[union-attr]
    assert not done.is_error
    assert refused.is_error
    assert unknown.is_error
    assert json.loads(unknown.content[0].text)["error"] == "TOOL_NOT_FOUND"  # type: ignore[union-attr]
    assert (agent.requests[0].manual, agent.requests[0].lab, len(agent.requests)) == (True, "/far", 1)


async def test_the_handshake_does_not_wait_for_the_agent(tmp_path: Path) -> None:
    """Nobody answers there: the client learns it from its first question, in words."""
    async with Client(parameters("--agent", "127.0.0.1:1")) as client:
        answer = await client.call_tool("recall", {})
    assert answer.is_error
    assert json.loads(answer.content[0].text)["error"] == "AGENT_UNREACHABLE"  # type: ignore[union-attr]


async def test_http_serves_the_same_tools() -> None:
    async with serve_agent(ScriptedAgent()) as address:
        process = await start_command("mcp", "--agent", address, "--http", "127.0.0.1:0")
        assert process.stdout is not None
        url = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))["url"]
        async with Client(url) as client:
            done = await client.call_tool("recall", {"query": "x"})
        assert json.loads(done.content[0].text) == {"seen": {"query": "x"}}  # type: ignore[union-attr]
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 10)
        assert process.returncode == 0


async def test_http_demands_the_token_where_one_is_set(tmp_path: Path) -> None:
    async with serve_agent(ScriptedAgent()) as address:
        (tmp_path / "token").write_text("c" * 32)
        flags = ("--http", "127.0.0.1:0", "--http-token-file", str(tmp_path / "token"))
        guarded = await start_command("mcp", "--agent", address, *flags)
        assert guarded.stdout is not None
        url = json.loads(await asyncio.wait_for(guarded.stdout.readline(), 30))["url"]
        import aiohttp

        async with aiohttp.ClientSession() as http, http.post(url, json={}) as answer:
            assert answer.status == 401
        guarded.send_signal(signal.SIGTERM)
        await asyncio.wait_for(guarded.wait(), 10)


async def test_http_beyond_loopback_needs_a_token() -> None:
    result = await run_command("mcp", "--agent", "127.0.0.1:1", "--http", "0.0.0.0:0")
    assert result.code == 2
    assert "give --http-token-file" in result.err


async def test_long_waits_are_cut_to_what_clients_bear() -> None:
    agent = ScriptedAgent()
    schema = {"type": "object", "properties": {"wait_seconds": {"type": "number"}}}
    agent.tools = [pb.Tool(name="run_experiment", parameters_json_schema=json.dumps(schema))]
    async with serve_agent(agent) as address:
        bridge_context = open_bridge(
            lambda: AgentClient(address), pb.StartSessionRequest(lab="/l", manual=True)
        )
        async with bridge_context as bridge:
            await bridge.call("run_experiment", {"description": "x"})
            await bridge.call("run_experiment", {"wait_seconds": 3000})
            await bridge.call("run_experiment", {"wait_seconds": 5})
    assert [arguments["wait_seconds"] for _, arguments in agent.calls] == [40.0, 40.0, 5.0]


async def test_a_refused_session_is_told_in_the_answer() -> None:
    refusal = FailedPreconditionError("the loop holds this session", reason="SESSION_RUNNING")
    async with serve_agent(ScriptedAgent(refusal=refusal)) as address:
        bridge_context = open_bridge(
            lambda: AgentClient(address), pb.StartSessionRequest(lab="/l", manual=True)
        )
        async with bridge_context as bridge:
            text, failed = await bridge.call("recall", {})
    assert failed
    assert json.loads(text) == {"error": "SESSION_RUNNING", "message": "the loop holds this session"}


async def test_a_session_that_agentd_has_forgotten_is_opened_again() -> None:
    class Forgetful(ScriptedAgent):
        async def CallTool(self, request: pb.CallToolRequest, context: Any) -> pb.CallToolResponse:
            if len(self.requests) < 2:
                raise NotFoundError("session 's' is not known here", reason="SESSION_NOT_FOUND")
            return await super().CallTool(request, context)

    agent = Forgetful()
    async with serve_agent(agent) as address:
        bridge_context = open_bridge(
            lambda: AgentClient(address), pb.StartSessionRequest(lab="/l", manual=True)
        )
        async with bridge_context as bridge:
            text, failed = await bridge.call("recall", {"query": "x"})
    assert (json.loads(text), failed) == ({"seen": {"query": "x"}}, False)
    assert len(agent.requests) == 2


async def test_what_keeps_the_agent_from_opening_is_told_and_never_waited_for(tmp_path: Path) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[AgentClient]:
        (tmp_path / "absent" / "lab").mkdir()  # raises
        yield AgentClient("127.0.0.1:1")

    async with open_bridge(broken, pb.StartSessionRequest(lab="/l", manual=True)) as bridge:
        text, failed = await asyncio.wait_for(bridge.call("recall", {}), 30)
    assert failed
    assert "could not be opened" in json.loads(text)["message"]


@pytest.mark.long
async def test_ten_tools_by_mcp_finish_twenty_experiments(tmp_path: Path) -> None:
    """A whole evening by hand over real daemons, with invented scores."""
    began = time.monotonic()
    flags = ("--lab", str(tmp_path / "lab"), "--data", str(tmp_path / "data"), "--executor", "scripted")
    async with Client(parameters(*flags)) as client:
        assert time.monotonic() - began < 20
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {
            "get_config", "set_hyperparams", "edit_code", "run_experiment", "get_history",
            "keep", "discard", "read_code", "remember", "recall",
        }  # fmt: skip
        finished = 0
        for number in range(20):
            rate = round(0.0211 + 0.002 * number, 4)  # never a value that the lab has had
            changed = await client.call_tool("set_hyperparams", {"changes": {"MATRIX_LR": rate}})
            assert not changed.is_error, changed.content
            while True:
                run = await client.call_tool("run_experiment", {"description": f"matrix rate {rate}"})
                assert not run.is_error, run.content
                answer = json.loads(run.content[0].text)  # type: ignore[union-attr]
                if answer.get("status") != "running":
                    break
            verdict = str(answer.get("verdict", "")).lower()
            decided = await client.call_tool("keep" if verdict in ("keep", "equivalent") else "discard", {})
            assert not decided.is_error, decided.content
            finished += 1
        assert finished == 20
