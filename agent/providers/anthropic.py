"""Claude through the official SDK: streaming, prompt caching, thinking blocks handed back unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic

from agent.provider import Conversation, Message, Provider, Role, ToolSpec, Turn, TurnEnd, Usage
from agent.providers.answer_size import bounded_responses
from agent.providers.faults import (
    CHECK_SECONDS,
    answering,
    cut_off,
    fault,
    not_understood,
    timed_out,
    unreachable,
)
from agent.providers.tool_calls import keep_opaque, read_call, read_opaque

NAME = "anthropic"
_CACHE = {"type": "ephemeral"}
_ENDS = {
    "end_turn": TurnEnd.DONE,
    "stop_sequence": TurnEnd.DONE,
    "tool_use": TurnEnd.TOOL_CALLS,
    "max_tokens": TurnEnd.LENGTH,
    "model_context_window_exceeded": TurnEnd.LENGTH,
    "refusal": TurnEnd.REFUSAL,
}


class AnthropicProvider:
    """See `agent.provider.Provider`. `idle_seconds` bounds the wait for the next piece of an answer."""

    name = NAME

    def __init__(
        self, model: str, key: str, base_url: str, request_seconds: float, idle_seconds: float
    ) -> None:
        self.model = model
        self._key = key
        self._request_seconds = request_seconds
        self._idle_seconds = idle_seconds
        self._client = anthropic.AsyncAnthropic(
            api_key=key,
            base_url=base_url or None,
            timeout=idle_seconds,
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(event_hooks=bounded_responses(NAME)),
        )

    async def check(self) -> None:
        async with self._answering(CHECK_SECONDS):
            await self._client.models.retrieve(self.model)

    async def complete(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> Turn:
        request: dict[str, Any] = {
            "model": self.model,
            "max_tokens": conversation.max_output_tokens,
            "messages": write_messages(conversation.messages),
        }
        if conversation.system:
            # The cache covers what comes before its mark: the tools, then the system text.
            request["system"] = [{"type": "text", "text": conversation.system, "cache_control": _CACHE}]
        if tools:
            request["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
                for tool in tools
            ]
        async with self._answering(self._request_seconds):
            stream = await self._client.messages.create(**request, stream=True)
            async with stream:
                return await read_stream(stream, self.model)

    async def close(self) -> None:
        await self._client.close()

    @asynccontextmanager
    async def _answering(self, seconds: float) -> AsyncIterator[None]:
        async with answering(NAME, seconds, self._idle_seconds, self._key):
            try:
                yield
            except anthropic.APITimeoutError as error:
                raise timed_out(NAME, self._idle_seconds) from error
            except anthropic.APIConnectionError as error:
                raise unreachable(NAME, error, self._key) from error
            except anthropic.APIStatusError as error:
                status = error.status_code if error.status_code >= 400 else 0
                raise fault(
                    NAME,
                    status,
                    error.api_message or error.message,
                    code=str(error.type or ""),
                    headers=error.response.headers,
                    secret=self._key,
                ) from error
            except anthropic.AnthropicError as error:
                raise not_understood(NAME, error) from error


@dataclass
class _Block:
    kind: str
    call_id: str = ""
    name: str = ""
    text: str = ""
    signature: str = ""
    data: dict[str, Any] = field(default_factory=dict)


async def read_stream(stream: AsyncIterable[Any], model: str) -> Turn:
    """Assembles a turn from the raw events. Raises UnavailableError when the stream stops early."""
    blocks: dict[int, _Block] = {}
    reason: str | None = None
    usage = Usage()
    ended = False
    async for event in stream:
        match event.type:
            case "message_start":
                model = event.message.model or model
                usage = read_usage(event.message.usage, usage)
            case "content_block_start":
                blocks[event.index] = _start_block(event.content_block)
            case "content_block_delta":
                _add_delta(blocks[event.index], event.delta)
            case "message_delta":
                reason = event.delta.stop_reason or reason
                usage = read_usage(event.usage, usage)
            case "message_stop":
                ended = True
    if not ended or reason is None:
        raise cut_off(NAME)
    ordered = [blocks[index] for index in sorted(blocks)]
    thinking = [_thinking(block) for block in ordered if block.kind in ("thinking", "redacted_thinking")]
    return Turn(
        text="".join(block.text for block in ordered if block.kind == "text"),
        tool_calls=tuple(
            read_call(block.call_id, block.name, block.text) for block in ordered if block.kind == "tool_use"
        ),
        end=_ENDS.get(reason, TurnEnd.OTHER),
        usage=usage,
        model=model,
        opaque=keep_opaque(NAME, thinking),
    )


def read_usage(found: Any, before: Usage) -> Usage:
    """The counters of an event; those it leaves out keep their value. They are totals, not increments."""

    def number(name: str, old: int) -> int:
        value = getattr(found, name, None)
        return old if value is None else int(value)

    return Usage(
        input_tokens=number("input_tokens", before.input_tokens),
        cached_input_tokens=number("cache_read_input_tokens", before.cached_input_tokens),
        cache_write_tokens=number("cache_creation_input_tokens", before.cache_write_tokens),
        output_tokens=number("output_tokens", before.output_tokens),
    )


def write_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Our messages in the API's form; the last block carries the mark up to which the prompt is cached."""
    written: list[dict[str, Any]] = []
    content: list[dict[str, Any]]
    for message in messages:
        match message.role:
            case Role.USER:
                content = [{"type": "text", "text": message.text or "(empty)"}]
            case Role.TOOL:
                content = [
                    {
                        "type": "tool_result",
                        "tool_use_id": result.call_id,
                        "content": result.text or "(empty)",
                        "is_error": result.failed,
                    }
                    for result in message.tool_results
                ]
            case Role.ASSISTANT:
                content = _write_assistant(message)
        written.append(
            {"role": "assistant" if message.role is Role.ASSISTANT else "user", "content": content}
        )
    if written and written[-1]["role"] == "user":
        written[-1]["content"][-1]["cache_control"] = _CACHE
    return written


def _write_assistant(message: Message) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = list(read_opaque(NAME, message.opaque))
    if message.text.strip():
        content.append({"type": "text", "text": message.text.rstrip()})
    for call in message.tool_calls:
        arguments = dict(call.arguments or {})
        content.append({"type": "tool_use", "id": call.call_id, "name": call.name, "input": arguments})
    return content or [{"type": "text", "text": "(no answer)"}]


def _start_block(block: Any) -> _Block:
    match block.type:
        case "tool_use":
            return _Block("tool_use", call_id=block.id, name=block.name)
        case "text":
            return _Block("text", text=block.text or "")
        case "thinking":
            return _Block("thinking", text=block.thinking or "", signature=block.signature or "")
        case _:
            return _Block(block.type, data=block.model_dump(mode="json", exclude_none=True))


def _add_delta(block: _Block, delta: Any) -> None:
    match delta.type:
        case "text_delta":
            block.text += delta.text
        case "input_json_delta":
            block.text += delta.partial_json
        case "thinking_delta":
            block.text += delta.thinking
        case "signature_delta":
            block.signature += delta.signature


def _thinking(block: _Block) -> dict[str, Any]:
    if block.kind == "thinking":
        return {"type": "thinking", "thinking": block.text, "signature": block.signature}
    return block.data


_: type[Provider] = AnthropicProvider
