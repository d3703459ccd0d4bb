"""Gemini through google-genai: streaming, thought signatures handed back, implicit prompt caching."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from google import genai
from google.genai import errors, types

try:  # every version of the SDK takes the first where it is installed; newer ones bring only the second
    import httpx as http  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    import httpx2 as http

from agent.provider import Conversation, Message, Provider, Role, ToolCall, ToolSpec, Turn, TurnEnd, Usage
from agent.providers.answer_size import bounded_responses
from agent.providers.faults import CHECK_SECONDS, answering, cut_off, fault, timed_out
from agent.providers.tool_calls import keep_opaque, read_opaque

NAME = "gemini"
OUR_ID = "call_"  # the API gives calls no id; ours are not sent back
_REFUSALS = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY"}
)


class GeminiProvider:
    """See `agent.provider.Provider`. Equal prefixes are cached by the API itself; usage tells how much."""

    name = NAME

    def __init__(
        self, model: str, key: str, base_url: str, request_seconds: float, idle_seconds: float
    ) -> None:
        self.model = model
        self._key = key
        self._request_seconds = request_seconds
        self._idle_seconds = idle_seconds
        # The client that the SDK would take by itself gathers a line of any length before anybody sees it.
        self._http = http.AsyncClient(event_hooks=bounded_responses(NAME), follow_redirects=True)
        options = types.HttpOptions(
            base_url=base_url or None,
            timeout=round(idle_seconds * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
            httpx_async_client=self._http,
        )
        self._client = genai.Client(vertexai=False, api_key=key, http_options=options)

    async def check(self) -> None:
        async with self._answering(CHECK_SECONDS):
            await self._client.aio.models.get(model=self.model)

    async def complete(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> Turn:
        config = types.GenerateContentConfig(
            system_instruction=conversation.system or None,
            max_output_tokens=conversation.max_output_tokens,
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            tools=[write_tools(tools)] if tools else None,
        )
        contents: Any = [write_message(message) for message in conversation.messages]
        async with self._answering(self._request_seconds):
            stream = await self._client.aio.models.generate_content_stream(
                model=self.model, contents=contents, config=config
            )
            return await read_stream(stream, self.model)

    async def close(self) -> None:
        await self._client.aio.aclose()
        await self._http.aclose()

    @asynccontextmanager
    async def _answering(self, seconds: float) -> AsyncIterator[None]:
        async with answering(NAME, seconds, self._idle_seconds, self._key):
            try:
                yield
            except errors.APIError as error:
                raise self._fault(error) from error
            except TimeoutError as error:
                raise timed_out(NAME, self._idle_seconds) from error

    def _fault(self, error: errors.APIError) -> Exception:
        headers = getattr(error.response, "headers", None) or {}
        return fault(
            NAME,
            error.code if isinstance(error.code, int) and error.code >= 400 else 0,
            str(error.message or error),
            code=str(error.status or ""),
            headers={str(name): str(value) for name, value in headers.items()},
            retry_delay=retry_delay(error.details),
            secret=self._key,
        )


async def read_stream(stream: AsyncIterable[Any], model: str) -> Turn:
    """Assembles a turn from the chunks. Raises UnavailableError when the stream stops early."""
    parts: list[types.Part] = []
    reason, detail, blocked = "", "", ""
    usage = Usage()
    async for chunk in stream:
        model = chunk.model_version or model
        if chunk.usage_metadata is not None:
            usage = read_usage(chunk.usage_metadata)
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
            blocked = str(chunk.prompt_feedback.block_reason.value)
        for candidate in (chunk.candidates or [])[:1]:
            if candidate.finish_reason is not None:
                reason = str(candidate.finish_reason.value)
                detail = candidate.finish_message or ""
            if candidate.content is not None:
                parts.extend(candidate.content.parts or [])
    if blocked:
        return Turn(f"the prompt was blocked: {blocked}", (), TurnEnd.REFUSAL, usage, model)
    if not reason:
        raise cut_off(NAME)
    calls = _read_calls(parts)
    text = "".join(part.text for part in parts if part.text and not part.thought)
    return Turn(text or detail, calls, _end(reason, calls), usage, model, _opaque(parts))


def read_usage(found: Any) -> Usage:
    """`prompt_token_count` contains what was cached; thoughts are billed as output."""
    cached = found.cached_content_token_count or 0
    prompt = (found.prompt_token_count or 0) + (found.tool_use_prompt_token_count or 0)
    output = (found.candidates_token_count or 0) + (found.thoughts_token_count or 0)
    return Usage(max(0, prompt - cached), cached, 0, output)


def write_tools(tools: Sequence[ToolSpec]) -> types.Tool:
    return types.Tool(
        function_declarations=[
            types.FunctionDeclaration(
                name=tool.name, description=tool.description, parameters_json_schema=dict(tool.parameters)
            )
            for tool in tools
        ]
    )


def write_message(message: Message) -> types.Content:
    """Our message in the API's form; an own earlier turn goes back as it came, signatures included."""
    match message.role:
        case Role.USER:
            return types.Content(role="user", parts=[types.Part(text=message.text or "(empty)")])
        case Role.TOOL:
            return types.Content(
                role="user", parts=[_write_result(result) for result in message.tool_results]
            )
        case Role.ASSISTANT:
            kept = [types.Part.model_validate(part) for part in read_opaque(NAME, message.opaque)]
            parts = kept or [types.Part(text=message.text)] * bool(message.text)
            if not kept:
                parts = parts + [_write_call(call) for call in message.tool_calls]
            return types.Content(role="model", parts=parts or [types.Part(text="(no answer)")])


def retry_delay(details: object) -> str:
    """The hint "17s" of a google.rpc.RetryInfo in an error's body; "" where there is none."""
    body = details.get("error", details) if isinstance(details, dict) else {}
    entries = body.get("details", []) if isinstance(body, dict) else []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and str(entry.get("@type", "")).endswith("RetryInfo"):
            return str(entry.get("retryDelay", ""))
    return ""


def _read_calls(parts: Sequence[types.Part]) -> tuple[ToolCall, ...]:
    found = [part.function_call for part in parts if part.function_call is not None]
    return tuple(
        ToolCall(call.id or f"{OUR_ID}{index}", call.name or "", dict(call.args or {}))
        for index, call in enumerate(found)
    )


def _write_result(result: Any) -> types.Part:
    response = {"error" if result.failed else "result": result.text}
    own = result.call_id.startswith(OUR_ID)
    return types.Part(
        function_response=types.FunctionResponse(
            id=None if own else result.call_id, name=result.name, response=response
        )
    )


def _write_call(call: ToolCall) -> types.Part:
    own = call.call_id.startswith(OUR_ID)
    arguments = dict(call.arguments or {})
    return types.Part(
        function_call=types.FunctionCall(id=None if own else call.call_id, name=call.name, args=arguments)
    )


def _opaque(parts: Sequence[types.Part]) -> str:
    """Only where a signature must come back; plain turns are rebuilt from their text and calls."""
    if not any(part.thought_signature for part in parts):
        return ""
    return keep_opaque(NAME, [part.model_dump(mode="json", exclude_none=True) for part in parts])


def _end(reason: str, calls: tuple[ToolCall, ...]) -> TurnEnd:
    if reason == "STOP":
        return TurnEnd.TOOL_CALLS if calls else TurnEnd.DONE
    if reason == "MAX_TOKENS":
        return TurnEnd.LENGTH
    return TurnEnd.REFUSAL if reason in _REFUSALS else TurnEnd.OTHER


_: type[Provider] = GeminiProvider
