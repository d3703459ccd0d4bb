"""Each provider's HTTP API as a small local server that plays one scene."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Call:
    """A tool call of the scene; `raw` is its argument text, perhaps cut off."""

    name: str
    raw: str
    call_id: str = "id-1"


@dataclass(frozen=True)
class Scene:
    """`end` is one of done, tool_calls, length, refusal. A fault replaces the answer or breaks it off."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    end: str = "done"
    input_tokens: int = 100
    cached_tokens: int = 0
    written_tokens: int = 0
    output_tokens: int = 20
    thinking: str = ""
    fault: str = ""  # cut, error_event, silent, drip, html, flood, one_line
    status: int = 200
    error_code: str = ""
    error_message: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Wire:
    """What a server of one API needs: its routes, its encoding, its error body. `requests` are the bodies."""

    name: str
    path: str
    encode: Callable[[Scene], list[str]]
    error_body: Callable[[Scene], dict[str, Any]]
    error_event: Callable[[Scene], str]
    base_path: str = ""
    garbage: str = "data: {not json\n\n"
    scene: Scene = field(default_factory=Scene)
    models: Scene | None = (
        None  # how a question for a model is answered; None: as by a server without the route
    )
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def answer_model(self, request: web.Request) -> web.StreamResponse:
        if self.models is None or "models" not in request.path:
            raise web.HTTPNotFound
        if self.models.status != 200:
            return web.json_response(self.error_body(self.models), status=self.models.status)
        name = request.path.rpartition("/")[2]
        return web.json_response({"id": name, "name": f"models/{name}"})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        scene = self.scene
        if scene.status != 200:
            return web.json_response(self.error_body(scene), status=scene.status, headers=scene.headers)
        if scene.fault == "html":
            return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if scene.fault == "silent":
            await asyncio.sleep(30)
        pieces = self.encode(scene)
        if scene.fault in ("flood", "one_line"):
            longest = max(pieces, key=len)
            endless = b"x" * 65536 if scene.fault == "one_line" else longest.encode()
            with contextlib.suppress(ConnectionError):
                await response.write("".join(pieces[: pieces.index(longest) + 1]).encode())
                while True:
                    await response.write(endless)
        for index, piece in enumerate(pieces):
            if scene.fault == "cut" and index == len(pieces) // 2:
                assert request.transport is not None
                request.transport.abort()
                return response
            if scene.fault == "garbage" and index == 1:
                await response.write(self.garbage.encode())
            if scene.fault == "error_event" and index == 1:
                await response.write(self.error_event(scene).encode())
                break
            await response.write(piece.encode())
            if scene.fault == "drip":
                await asyncio.sleep(0.4)
        await response.write_eof()
        return response


@asynccontextmanager
async def serve(wire: Wire) -> AsyncIterator[Wire]:
    application = web.Application()
    application.router.add_post(wire.path, wire.answer)
    application.router.add_get("/{path:.*}", wire.answer_model)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    wire.url = f"http://127.0.0.1:{runner.addresses[0][1]}{wire.base_path}"
    try:
        yield wire
    finally:
        await runner.cleanup()


def halves(text: str) -> list[str]:
    """Text in two pieces, as streams deliver it; nothing for no text."""
    middle = len(text) // 2
    return [part for part in (text[:middle], text[middle:]) if part]


# Anthropic: messages with server-sent events


def anthropic_event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def anthropic_encode(scene: Scene) -> list[str]:
    usage = {
        "input_tokens": scene.input_tokens,
        "cache_read_input_tokens": scene.cached_tokens,
        "cache_creation_input_tokens": scene.written_tokens,
        "output_tokens": 1,
    }
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "served-model", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    events = [anthropic_event("message_start", message=message), anthropic_event("ping")]
    index = 0

    def block(start: dict[str, Any], deltas: list[dict[str, Any]]) -> None:
        nonlocal index
        events.append(anthropic_event("content_block_start", index=index, content_block=start))
        events.extend(anthropic_event("content_block_delta", index=index, delta=delta) for delta in deltas)
        events.append(anthropic_event("content_block_stop", index=index))
        index += 1

    if scene.thinking:
        block(
            {"type": "thinking", "thinking": "", "signature": ""},
            [
                {"type": "thinking_delta", "thinking": scene.thinking},
                {"type": "signature_delta", "signature": "signed"},
            ],
        )
    if scene.text:
        block(
            {"type": "text", "text": ""},
            [{"type": "text_delta", "text": part} for part in halves(scene.text)],
        )
    for call in scene.calls:
        block(
            {"type": "tool_use", "id": call.call_id, "name": call.name, "input": {}},
            [{"type": "input_json_delta", "partial_json": part} for part in halves(call.raw)],
        )
    reasons = {"done": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "refusal": "refusal"}
    delta = {"stop_reason": reasons[scene.end], "stop_sequence": None}
    events.append(anthropic_event("message_delta", delta=delta, usage={"output_tokens": scene.output_tokens}))
    events.append(anthropic_event("message_stop"))
    return events


def anthropic_error(scene: Scene) -> dict[str, Any]:
    return {"type": "error", "error": {"type": scene.error_code, "message": scene.error_message}}


def anthropic_wire() -> Wire:
    return Wire(
        "anthropic",
        "/v1/messages",
        anthropic_encode,
        anthropic_error,
        lambda scene: f"event: error\ndata: {json.dumps(anthropic_error(scene))}\n\n",
        garbage="event: content_block_delta\ndata: {not json\n\n",
    )


# OpenAI: chat completions with server-sent events


def openai_chunk(delta: dict[str, Any], reason: str | None = None, **fields: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
    chunk = {
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "served-model",
        "choices": [choice], **fields,
    }  # fmt: skip
    return f"data: {json.dumps(chunk)}\n\n"


def openai_encode(scene: Scene) -> list[str]:
    pieces = [openai_chunk({"role": "assistant", "content": ""})]
    said = "refusal" if scene.end == "refusal" else "content"
    pieces += [openai_chunk({said: part}) for part in halves(scene.text)]
    for index, call in enumerate(scene.calls):
        function = {"name": call.name, "arguments": ""}
        head = {"index": index, "id": call.call_id, "type": "function", "function": function}
        pieces.append(openai_chunk({"tool_calls": [head]}))
        pieces += [
            openai_chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
            for part in halves(call.raw)
        ]
    reasons = {"done": "stop", "tool_calls": "tool_calls", "length": "length", "refusal": "stop"}
    pieces.append(openai_chunk({}, reasons[scene.end]))
    prompt = scene.input_tokens + scene.cached_tokens + scene.written_tokens
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": scene.output_tokens,
        "total_tokens": prompt + scene.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": scene.cached_tokens, "cache_write_tokens": scene.written_tokens,
        },
    }  # fmt: skip
    pieces.append(openai_chunk({}, choices=[], usage=usage))
    return [*pieces, "data: [DONE]\n\n"]


def openai_error(scene: Scene) -> dict[str, Any]:
    return {
        "error": {
            "message": scene.error_message, "type": "invalid_request_error",
            "code": scene.error_code, "param": None,
        }
    }  # fmt: skip


def openai_wire() -> Wire:
    return Wire(
        "openai",
        "/v1/chat/completions",
        openai_encode,
        openai_error,
        lambda scene: f"data: {json.dumps(openai_error(scene))}\n\n",
        base_path="/v1",
    )


# Gemini: streamGenerateContent with server-sent events


def gemini_chunk(parts: list[dict[str, Any]], reason: str | None = None, **fields: Any) -> str:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if reason:
        candidate["finishReason"] = reason
    return (
        f"data: {json.dumps({'candidates': [candidate], 'modelVersion': 'served-model', **fields})}\r\n\r\n"
    )


def gemini_encode(scene: Scene) -> list[str]:
    pieces = []
    if scene.thinking:
        pieces.append(gemini_chunk([{"text": scene.thinking, "thought": True}]))
    if scene.end != "refusal":
        pieces += [gemini_chunk([{"text": part}]) for part in halves(scene.text)]
    malformed = False
    for call in scene.calls:
        try:
            part: dict[str, Any] = {"functionCall": {"name": call.name, "args": json.loads(call.raw or "{}")}}
        except ValueError:
            malformed = True  # the API itself reads the text; what it cannot read it does not send
            continue
        if scene.thinking:
            part["thoughtSignature"] = "c2lnbmVk"
        pieces.append(gemini_chunk([part]))
    reasons = {"done": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}
    usage = {
        "promptTokenCount": scene.input_tokens + scene.cached_tokens + scene.written_tokens,
        "cachedContentTokenCount": scene.cached_tokens,
        "candidatesTokenCount": scene.output_tokens - 5,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 0,
    }
    reason = "MALFORMED_FUNCTION_CALL" if malformed and scene.end != "length" else reasons[scene.end]
    return [*pieces, gemini_chunk([], reason, usageMetadata=usage)]


def gemini_error(scene: Scene) -> dict[str, Any]:
    details = []
    if "retry-after" in scene.headers:
        delay = f"{scene.headers['retry-after']}s"
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    error = {
        "code": scene.status,
        "message": scene.error_message,
        "status": scene.error_code,
        "details": details,
    }
    return {"error": error}


def gemini_wire() -> Wire:
    return Wire(
        "gemini",
        "/{version}/models/{call}",
        gemini_encode,
        gemini_error,
        lambda scene: f"data: {json.dumps(gemini_error(scene) | {'code': 503})}\r\n\r\n",
    )


WIRES = {"anthropic": anthropic_wire, "openai": openai_wire, "gemini": gemini_wire}
