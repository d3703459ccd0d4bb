"""`tools` and `call`: a session by hand."""

from __future__ import annotations

import json

import pytest

from agent.cli.tools import read_arguments
from services.errors import InvalidArgumentError
from tests.agent.cli.command import run_command
from tests.agent.cli.scripted_agentd import ScriptedAgent, serve_agent


async def test_tools_are_listed_with_their_parameters() -> None:
    async with serve_agent(ScriptedAgent()) as address:
        plain = await run_command("tools", "--agent", address)
        as_json = await run_command("tools", "--agent", address, "--json")
    assert plain.lines == ["recall(query)", "    Searches memory."]
    assert json.loads(as_json.out)["tools"][0]["parameters"]["properties"] == {"query": {"type": "string"}}


async def test_a_call_opens_the_session_by_hand_and_prints_the_result() -> None:
    agent = ScriptedAgent()
    async with serve_agent(agent) as address:
        result = await run_command("call", "recall", "query=deep nets", "limit=3", "--agent", address)
        refused = await run_command("call", "keep", "--agent", address)
        unknown = await run_command("call", "unknown", "--agent", address)
    assert (result.code, json.loads(result.out)) == (0, {"seen": {"query": "deep nets", "limit": 3}})
    assert agent.requests[0].manual
    assert not agent.stopped.is_set(), "a session of another process is left open"
    assert (refused.code, json.loads(refused.out)) == (1, {"seen": {}})
    assert (unknown.code, unknown.err) == (3, "error: there is no tool 'unknown'\n")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], {}),
        (['{"a": [1, 2]}'], {"a": [1, 2]}),
        (["DEPTH=5", "WINDOW_PATTERN=SSL", "x=2**17"], {"DEPTH": 5, "WINDOW_PATTERN": "SSL", "x": "2**17"}),
        (["text=a=b"], {"text": "a=b"}),
    ],
)
def test_arguments_are_json_or_pairs(parts: list[str], expected: dict[str, object]) -> None:
    assert json.loads(read_arguments(parts)) == expected


@pytest.mark.parametrize("parts", [["{broken"], ["word"], ["=1"], ["a=1", "{}"]])
def test_other_arguments_are_refused(parts: list[str]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_arguments(parts)
    assert caught.value.field == "arguments"
