"""OpenAI's chat completions through the official SDK, and any server that speaks them (--base-url)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import openai

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
from agent.providers.tool_calls import read_call

NAME = "openai"
NO_KEY = "none"  # the SDK demands some text; servers of one's own ignore it
_ENDS = {
    "stop": TurnEnd.DONE,
    "tool_calls": TurnEnd.TOOL_CALLS,
    "function_call": TurnEnd.TOOL_CALLS,
    "length": TurnEnd.LENGTH,
    "content_filter": TurnEnd.REFUSAL,
}


class OpenAIProvider:
    """See `agent.provider.Provider`. With `base_url` only the fields that every server knows are sent."""

    name = NAME

    def __init__(
        self, model: str, key: str, base_url: str, request_seconds: float, idle_seconds: float
    ) -> None:
        self.model = model
        self._key = key
        self._own_server = bool(base_url)
        self._request_seconds = request_seconds
        self._idle_seconds = idle_seconds
        self._client = openai.AsyncOpenAI(
            api_key=key or NO_KEY,
            base_url=base_url or None,
            timeout=idle_seconds,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks=bounded_responses(NAME)),
        )

    async def check(self) -> None:
        async with self._answering(CHECK_SECONDS):
            await self._client.models.retrieve(self.model)

    async def complete(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> Turn:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": write_messages(conversation),
            "stream_options": {"include_usage": True},
        }
        if self._own_server:
            request["max_tokens"] = conversation.max_output_tokens
        else:
            request["max_completion_tokens"] = conversation.max_output_tokens
            # Equal prefixes are cached by themselves; the key sends them to the same machine.
            request["prompt_cache_key"] = hashlib.sha256(conversation.system.encode()).hexdigest()[:32]
        if tools:
            request["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": dict(tool.parameters),
                    },
                }
                for tool in tools
            ]
        async with self._answering(self._request_seconds):
            stream = await self._client.chat.completions.create(**request, stream=True)
            async with stream:
                return await read_stream(stream, self.model)

    async def close(self) -> None:
        await self._client.close()

    @asynccontextmanager
    async def _answering(self, seconds: float) -> AsyncIterator[None]:
        async with answering(NAME, seconds, self._idle_seconds, self._key):
            try:
                yield
            except openai.APITimeoutError as error:
                raise timed_out(NAME, self._idle_seconds) from error
            except openai.APIConnectionError as error:
                raise unreachable(NAME, error, self._key) from error
            except openai.APIStatusError as error:
                raise fault(
                    NAME,
                    error.status_code,
                    message_of(error),
                    code=f"{error.code or ''} {error.type or ''}".strip(),
                    headers=error.response.headers,
                    secret=self._key,
                ) from error
            except openai.APIError as error:  # an error event inside the stream
                code = str(error.code or error.type or "")
                raise fault(NAME, 0, message_of(error), code=code, secret=self._key) from error
            except openai.OpenAIError as error:
                raise not_understood(NAME, error) from error


def message_of(error: openai.APIError) -> str:
    """The server's own sentence: the SDK's text wraps the whole body."""
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return str(inner["message"])
        if isinstance(inner, str):
            return inner
    return error.message


@dataclass
class _Call:
    call_id: str
    name: str = ""
    arguments: str = ""


async def read_stream(stream: AsyncIterable[Any], model: str) -> Turn:
    """Assembles a turn from the chunks. Raises UnavailableError when the stream stops early."""
    text, refusal, reason = "", "", None
    usage = Usage()
    calls: list[_Call] = []
    by_index: dict[int, _Call] = {}
    async for chunk in stream:
        model = chunk.model or model
        if chunk.usage is not None:
            usage = read_usage(chunk.usage)
        for choice in chunk.choices or []:
            reason = choice.finish_reason or reason
            delta = choice.delta
            if delta is None:
                continue
            text += delta.content or ""
            refusal += delta.refusal or ""
            for part in delta.tool_calls or []:
                _add_call(part, by_index, calls)
    if reason is None:
        raise cut_off(NAME)
    end = _ENDS.get(reason, TurnEnd.OTHER)
    if refusal:
        end = TurnEnd.REFUSAL
    elif calls and end is TurnEnd.DONE:  # some servers say "stop" with their calls
        end = TurnEnd.TOOL_CALLS
    read = tuple(read_call(call.call_id, call.name, call.arguments) for call in calls)
    return Turn(text or refusal, read, end, usage, model)


def _add_call(part: Any, by_index: dict[int, _Call], calls: list[_Call]) -> None:
    """Some servers number every whole call 0, or give no ids: a new id or a second name is a new call."""
    index = part.index or 0
    name = part.function.name if part.function is not None else None
    call = by_index.get(index)
    if call is None or (part.id and part.id != call.call_id) or (not part.id and name and call.arguments):
        call = _Call(part.id or f"call_{len(calls)}")
        by_index[index] = call
        calls.append(call)
    if part.function is not None:
        call.name = call.name or part.function.name or ""
        call.arguments += part.function.arguments or ""


def read_usage(found: Any) -> Usage:
    """`prompt_tokens` contains what was read from and written to the cache; ours does not."""
    details = found.prompt_tokens_details
    cached = (getattr(details, "cached_tokens", None) or 0) if details is not None else 0
    written = (getattr(details, "cache_write_tokens", None) or 0) if details is not None else 0
    prompt = found.prompt_tokens or 0
    return Usage(max(0, prompt - cached - written), cached, written, found.completion_tokens or 0)


def write_messages(conversation: Conversation) -> list[dict[str, Any]]:
    """Our messages in the API's form: one message for each tool result."""
    written: list[dict[str, Any]] = []
    if conversation.system:
        written.append({"role": "system", "content": conversation.system})
    for message in conversation.messages:
        match message.role:
            case Role.USER:
                written.append({"role": "user", "content": message.text or "(empty)"})
            case Role.TOOL:
                for result in message.tool_results:
                    content = f"error: {result.text}" if result.failed else result.text
                    written.append({"role": "tool", "tool_call_id": result.call_id, "content": content})
            case Role.ASSISTANT:
                written.append(_write_assistant(message))
    return written


def _write_assistant(message: Message) -> dict[str, Any]:
    entry: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    if message.tool_calls:
        entry["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                # What was malformed is not sent back: servers parse it and refuse the whole request.
                "function": {
                    "name": call.name,
                    "arguments": call.raw_arguments.strip() or "{}" if call.arguments is not None else "{}",
                },
            }
            for call in message.tool_calls
        ]
    elif not message.text:
        entry["content"] = "(no answer)"
    return entry


_: type[Provider] = OpenAIProvider
