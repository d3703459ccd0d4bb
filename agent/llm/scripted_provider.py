"""A language model that follows a script: for demonstrations and for tests of everything around a model.

A script is a list of turns: {"text": "…", "calls": [{"name": "…", "arguments": {…}}], "end": "refusal"} or
{"fault": "rate_limited"|"unavailable"|"timeout"|"overflow"|"bad_key"|"quota"}. The last turn repeats.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent.provider import Conversation, Provider, ToolCall, ToolSpec, Turn, TurnEnd, Usage
from services.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)


class ScriptedProvider:
    """Plays turns in order. Every turn uses as many tokens as it says, 100 in and 10 out by default."""

    name = "scripted"

    def __init__(self, turns: Sequence[Mapping[str, Any]], model: str = "scripted") -> None:
        self.model = model
        self.asked: list[Conversation] = []
        self._turns = turns

    async def check(self) -> None:
        """Every key will do."""

    async def complete(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> Turn:
        position = min(len(self.asked), len(self._turns) - 1)
        self.asked.append(conversation)
        entry = self._turns[position]
        if "fault" in entry:
            raise make_fault(str(entry["fault"]), entry.get("retry_after"))
        calls = tuple(
            _read_call(f"call-{len(self.asked)}-{index}", call)
            for index, call in enumerate(entry.get("calls", ()))
        )
        end = TurnEnd(entry.get("end", "tool_calls" if calls else "done"))
        usage = Usage(
            input_tokens=int(entry.get("input_tokens", 100)),
            cached_input_tokens=int(entry.get("cached_input_tokens", 0)),
            output_tokens=int(entry.get("output_tokens", 10)),
        )
        return Turn(str(entry.get("text", "")), calls, end, usage, self.model)

    async def close(self) -> None:
        """Holds nothing."""


def make_fault(name: str, retry_after: float | None = None) -> ServiceError:
    """The error that a provider would raise. Raises KeyError for an unknown name."""
    faults: dict[str, ServiceError] = {
        "rate_limited": ResourceExhaustedError("slow down", reason="RATE_LIMITED", retry_after=retry_after),
        "quota": ResourceExhaustedError("no credit is left", reason="QUOTA_EXHAUSTED"),
        "unavailable": UnavailableError("overloaded", reason="PROVIDER_UNAVAILABLE"),
        "timeout": DeadlineExceededError("no answer in time", reason="PROVIDER_TIMEOUT"),
        "overflow": InvalidArgumentError("the conversation is too long", reason="CONTEXT_OVERFLOW"),
        "bad_key": UnauthenticatedError("the key was refused", reason="BAD_KEY"),
    }
    return faults[name]


def _read_call(call_id: str, call: Mapping[str, Any]) -> ToolCall:
    raw = call.get("raw")
    if raw is not None:  # malformed on purpose
        return ToolCall(call_id, str(call["name"]), None, str(raw))
    arguments = dict(call.get("arguments", {}))
    return ToolCall(call_id, str(call["name"]), arguments, json.dumps(arguments))


_: type[Provider] = ScriptedProvider
