"""The contract of agent/provider.py: the real SDKs against a locally served wire, faults included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from agent.provider import Conversation, Message, Provider, Role, ToolResult, ToolSpec, TurnEnd, Usage
from agent.providers import open_provider
from services import errors
from tests.contract.provider_wires import WIRES, Call, Scene, Wire, serve

KEY = "sk-canary-0123456789abcdef"
TOOLS = [
    ToolSpec("recall", "Searches memory.", {"type": "object", "properties": {"query": {"type": "string"}}}),
    ToolSpec("keep", "Keeps the change.", {"type": "object", "properties": {}}),
]
ASKED = Conversation("You are a researcher.", (Message(Role.USER, "Begin."),), max_output_tokens=500)


@pytest.fixture(params=sorted(WIRES))
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    async with serve(WIRES[request.param]()) as served:
        yield served


@pytest.fixture
async def provider(wire: Wire) -> AsyncIterator[Provider]:
    opened = open_provider(
        wire.name, model="asked-model", key=KEY, base_url=wire.url, request_seconds=30.0, idle_seconds=20.0
    )
    yield opened
    await opened.close()


async def test_an_answer_comes_with_its_usage(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene(text="Try a deeper net.", input_tokens=120, output_tokens=33)
    turn = await provider.complete(ASKED, TOOLS)
    assert (turn.text, turn.end, turn.tool_calls) == ("Try a deeper net.", TurnEnd.DONE, ())
    assert turn.usage == Usage(input_tokens=120, output_tokens=33)
    assert turn.model == "served-model"
    assert (provider.name, provider.model) == (wire.name, "asked-model")
    assert len(wire.requests) == 1
    sent = json.dumps(wire.requests[0])
    assert "You are a researcher." in sent
    assert "Begin." in sent
    assert "500" in sent


async def test_a_check_asks_for_the_model_and_nothing_else(wire: Wire, provider: Provider) -> None:
    wire.models = Scene()
    await provider.check()
    wire.models = Scene(status=401, error_message="key expired")
    with pytest.raises(errors.UnauthenticatedError) as refused:
        await provider.check()
    assert (refused.value.reason, refused.value.metadata["status"]) == ("BAD_KEY", "401")
    wire.models = Scene(status=404, error_message="no such model")
    with pytest.raises(errors.NotFoundError):
        await provider.check()
    wire.models = Scene(status=503, error_message="overloaded")
    with pytest.raises(errors.UnavailableError):
        await provider.check()
    assert not wire.requests


async def test_cached_tokens_are_counted_apart(wire: Wire, provider: Provider) -> None:
    written = 0 if wire.name == "gemini" else 7
    wire.scene = Scene(text="ok", input_tokens=10, cached_tokens=90, written_tokens=written, output_tokens=5)
    turn = await provider.complete(ASKED, TOOLS)
    assert turn.usage == Usage(10, 90, written, 5)


async def test_tools_are_described_with_their_schema(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene(text="ok")
    await provider.complete(ASKED, TOOLS)
    sent = json.dumps(wire.requests[0]["tools"])
    for wanted in ("recall", "Searches memory.", "query", "keep"):
        assert wanted in sent
    await provider.complete(ASKED, [])
    assert not wire.requests[1].get("tools")


async def test_parallel_calls_come_in_order_with_their_arguments(wire: Wire, provider: Provider) -> None:
    calls = (
        Call("recall", '{"query": "größe"}', "id-1"),
        Call("keep", "", "id-2"),
        Call("recall", "{}", "id-3"),
    )
    wire.scene = Scene(text="Two things.", calls=calls, end="tool_calls")
    turn = await provider.complete(ASKED, TOOLS)
    assert turn.end is TurnEnd.TOOL_CALLS
    assert [(call.name, call.arguments) for call in turn.tool_calls] == [
        ("recall", {"query": "größe"}),
        ("keep", {}),
        ("recall", {}),
    ]
    assert len({call.call_id for call in turn.tool_calls}) == 3


async def test_results_go_back_beside_their_calls(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene(
        calls=(Call("recall", '{"query": "a"}', "id-1"), Call("keep", "{}", "id-2")), end="tool_calls"
    )
    turn = await provider.complete(ASKED, TOOLS)
    results = (
        ToolResult(turn.tool_calls[0].call_id, "recall", "nothing found"),
        ToolResult(turn.tool_calls[1].call_id, "keep", "no run yet", failed=True),
    )
    messages = (*ASKED.messages, turn.as_message(), Message(Role.TOOL, tool_results=results))
    wire.scene = Scene(text="ok")
    assert (await provider.complete(replace(ASKED, messages=messages), TOOLS)).end is TurnEnd.DONE
    assert paired_results(wire.name, wire.requests[1]) == [
        ("recall", "nothing found"),
        ("keep", "no run yet"),
    ]


async def test_a_call_cut_off_by_length_has_no_arguments(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene(calls=(Call("recall", '{"query": "half'),), end="length")
    turn = await provider.complete(ASKED, TOOLS)
    assert turn.end is TurnEnd.LENGTH
    if wire.name == "gemini":  # its API drops what it cannot read
        assert turn.tool_calls == ()
        return
    assert [(call.arguments, call.raw_arguments) for call in turn.tool_calls] == [(None, '{"query": "half')]


@pytest.mark.parametrize("raw", ["{'query': 1}", "[1, 2]", "query", "{}{}"])
async def test_a_malformed_call_is_a_turn_and_can_be_answered(
    wire: Wire, provider: Provider, raw: str
) -> None:
    if wire.name == "gemini" and raw == "[1, 2]":
        pytest.skip("the API sends objects only")
    wire.scene = Scene(calls=(Call("recall", raw),), end="tool_calls")
    turn = await provider.complete(ASKED, TOOLS)
    if wire.name == "gemini":
        assert (turn.end, turn.tool_calls) == (TurnEnd.OTHER, ())
    else:
        assert [(call.arguments, call.raw_arguments) for call in turn.tool_calls] == [(None, raw)]
    results = tuple(ToolResult(call.call_id, call.name, "not JSON", failed=True) for call in turn.tool_calls)
    answer = Message(Role.TOOL, tool_results=results) if results else Message(Role.USER, "Call again.")
    wire.scene = Scene(text="ok")
    again = await provider.complete(
        replace(ASKED, messages=(*ASKED.messages, turn.as_message(), answer)), TOOLS
    )
    assert again.text == "ok"


async def test_a_refusal_is_a_turn(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene(text="I will not.", end="refusal")
    turn = await provider.complete(ASKED, TOOLS)
    assert turn.end is TurnEnd.REFUSAL
    assert turn.usage.output_tokens == 20


async def test_silence_of_the_model_can_be_sent_back(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene()
    turn = await provider.complete(ASKED, TOOLS)
    assert (turn.text, turn.tool_calls, turn.end) == ("", (), TurnEnd.DONE)
    messages = (*ASKED.messages, turn.as_message(), Message(Role.USER, ""))
    await provider.complete(replace(ASKED, messages=messages), TOOLS)
    assert len(wire.requests) == 2


async def test_what_must_come_back_comes_back_unchanged(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene(thinking="hm", calls=(Call("keep", "{}"),), end="tool_calls")
    turn = await provider.complete(ASKED, TOOLS)
    assert "hm" not in turn.text
    results = (ToolResult(turn.tool_calls[0].call_id, "keep", "done"),)
    messages = (*ASKED.messages, turn.as_message(), Message(Role.TOOL, tool_results=results))
    await provider.complete(replace(ASKED, messages=messages), TOOLS)
    sent = wire.requests[1]
    match wire.name:
        case "anthropic":
            assert sent["messages"][1]["content"][0] == {
                "type": "thinking", "thinking": "hm", "signature": "signed"
            }  # fmt: skip
        case "gemini":
            parts = sent["contents"][1]["parts"]
            assert parts[0] == {"text": "hm", "thought": True}
            assert parts[1]["thoughtSignature"] == "c2lnbmVk"
            assert [part for part in parts if "functionCall" in part] == parts[1:]
        case _:
            assert turn.opaque == ""
    for other in set(WIRES) - {wire.name}:
        async with serve(WIRES[other]()) as other_wire:
            opened = open_provider(other, model="m", key=KEY, base_url=other_wire.url)
            await opened.complete(replace(ASKED, messages=messages), TOOLS)
            assert "signed" not in json.dumps(other_wire.requests)
            await opened.close()


@pytest.mark.parametrize("name", ["recall", "no_such_tool"])
async def test_any_name_of_a_tool_is_passed_on(wire: Wire, provider: Provider, name: str) -> None:
    wire.scene = Scene(calls=(Call(name, "{}"),), end="tool_calls")
    assert [call.name for call in (await provider.complete(ASKED, TOOLS)).tool_calls] == [name]


FAULTS: list[tuple[str, Scene, type[errors.ServiceError], str]] = [
    ("429", Scene(status=429, error_code="rate_limit_error", error_message="slow down"),
     errors.ResourceExhaustedError, "RATE_LIMITED"),
    ("quota", Scene(status=429, error_code="insufficient_quota",
                    error_message="You exceeded your current quota, please check your plan and billing"),
     errors.ResourceExhaustedError, "QUOTA_EXHAUSTED"),
    ("401", Scene(status=401, error_code="authentication_error", error_message="invalid x-api-key"),
     errors.UnauthenticatedError, "BAD_KEY"),
    ("403", Scene(status=403, error_code="permission_error", error_message="not allowed"),
     errors.UnauthenticatedError, "BAD_KEY"),
    ("404", Scene(status=404, error_code="not_found_error", error_message="model: asked-model"),
     errors.NotFoundError, "UNKNOWN_MODEL"),
    ("overflow", Scene(status=400, error_code="context_length_exceeded",
                       error_message="prompt is too long: 210000 tokens > 200000 maximum"),
     errors.InvalidArgumentError, "CONTEXT_OVERFLOW"),
    ("413", Scene(status=413, error_code="request_too_large", error_message="Request too large"),
     errors.InvalidArgumentError, "CONTEXT_OVERFLOW"),
    ("400", Scene(status=400, error_code="invalid_request_error", error_message="tools.0: bad name"),
     errors.InvalidArgumentError, "BAD_REQUEST"),
    ("500", Scene(status=500, error_code="api_error", error_message="oops"),
     errors.UnavailableError, "PROVIDER_UNAVAILABLE"),
    ("503", Scene(status=503, error_code="UNAVAILABLE", error_message="overloaded"),
     errors.UnavailableError, "PROVIDER_UNAVAILABLE"),
    ("529", Scene(status=529, error_code="overloaded_error", error_message="Overloaded"),
     errors.UnavailableError, "PROVIDER_UNAVAILABLE"),
    ("cut", Scene(text="a long answer that ends too soon", fault="cut"),
     errors.UnavailableError, "PROVIDER_UNAVAILABLE"),
    ("error event", Scene(text="a long answer", fault="error_event", error_code="overloaded_error",
                          error_message="Overloaded"),
     errors.UnavailableError, "PROVIDER_UNAVAILABLE"),
    ("garbage", Scene(text="a long answer", fault="garbage"),
     errors.UnavailableError, "PROVIDER_UNAVAILABLE"),
    ("html", Scene(fault="html"), errors.UnavailableError, "PROVIDER_UNAVAILABLE"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scene", "kind", "reason"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
async def test_every_fault_has_its_error_and_is_not_retried(
    wire: Wire, provider: Provider, scene: Scene, kind: type[errors.ServiceError], reason: str
) -> None:
    wire.scene = scene
    with pytest.raises(errors.ServiceError) as caught:
        await provider.complete(ASKED, TOOLS)
    assert (type(caught.value), caught.value.reason) == (kind, reason), caught.value
    assert wire.name in str(caught.value)
    assert len(wire.requests) == 1
    wire.scene = Scene(text="well again")
    assert (await provider.complete(ASKED, TOOLS)).text == "well again"


@pytest.mark.parametrize(
    "scene",
    [
        Scene(fault="silent"),
        Scene(text="x", calls=tuple(Call("keep", "{}", f"id-{n}") for n in range(12)), fault="drip"),
    ],
    ids=["silent", "drip"],
)
async def test_waiting_is_bounded(wire: Wire, scene: Scene) -> None:
    """A silent server by the wait for the next piece, one that drips by the time for the whole answer."""
    provider = open_provider(
        wire.name, model="m", key=KEY, base_url=wire.url, request_seconds=2.0, idle_seconds=1.0
    )
    wire.scene = scene
    with pytest.raises(errors.DeadlineExceededError) as caught:
        await provider.complete(ASKED, TOOLS)
    assert caught.value.reason == "PROVIDER_TIMEOUT"
    await provider.close()


@pytest.mark.parametrize("fault", ["flood", "one_line"])
async def test_an_answer_without_an_end_is_given_up_by_its_size(
    wire: Wire, provider: Provider, fault: str
) -> None:
    wire.scene = Scene(text="x" * 100_000, fault=fault)
    with pytest.raises(errors.UnavailableError) as caught:
        await asyncio.wait_for(provider.complete(ASKED, TOOLS), 60)
    assert caught.value.reason == "PROVIDER_UNAVAILABLE"
    assert "check --base-url" in caught.value.message
    wire.scene = Scene(text="well again")
    assert (await provider.complete(ASKED, TOOLS)).text == "well again"


async def test_the_hint_to_wait_is_passed_on(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene(
        status=429, error_code="rate_limit_error", error_message="slow down", headers={"retry-after": "7"}
    )
    with pytest.raises(errors.ResourceExhaustedError) as caught:
        await provider.complete(ASKED, TOOLS)
    assert caught.value.retry_after == 7.0


async def test_the_key_is_in_no_message(wire: Wire, provider: Provider) -> None:
    wire.scene = Scene(status=401, error_code="x", error_message=f"Incorrect API key provided: {KEY}.")
    with pytest.raises(errors.UnauthenticatedError) as caught:
        await provider.complete(ASKED, TOOLS)
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)
    assert KEY not in repr(vars(caught.value))


@pytest.mark.parametrize("name", sorted(WIRES))
async def test_a_server_that_is_not_there_is_unavailable(name: str) -> None:
    provider = open_provider(name, model="m", key=KEY, base_url="http://127.0.0.1:1/v1")
    with pytest.raises(errors.UnavailableError, match="cannot be reached") as caught:
        await provider.complete(ASKED, TOOLS)
    assert caught.value.reason == "PROVIDER_UNAVAILABLE"
    await provider.close()


def paired_results(name: str, request: dict[str, Any]) -> list[tuple[str, str]]:
    """(tool, result text) of a second request, paired by the ids or the order that the API asks for."""
    match name:
        case "anthropic":
            calls = {block["id"]: block["name"] for block in request["messages"][1]["content"]}
            results = request["messages"][2]["content"]
            assert [result["is_error"] for result in results] == [False, True]
            return [(calls[result["tool_use_id"]], result["content"]) for result in results]
        case "openai":
            calls = {call["id"]: call["function"]["name"] for call in request["messages"][2]["tool_calls"]}
            found = [message for message in request["messages"] if message["role"] == "tool"]
            return [(calls[m["tool_call_id"]], m["content"].removeprefix("error: ")) for m in found]
        case _:
            parts = [part["functionResponse"] for part in request["contents"][2]["parts"]]
            return [(part["name"], next(iter(part["response"].values()))) for part in parts]
