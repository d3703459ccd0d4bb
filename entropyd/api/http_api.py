"""The HTTP routes of gnosis-radio and sdr-rand, with honest fields added behind theirs.

Old clients ignore the status, speak HTTP/1.0 and wait 250 ms: every answer has a Content-Length and comes
at once. A refusal carries no `entropy_hex`, because a client that ignores the status would use it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from aiohttp import web

from entropyd.api.http_query import parse_query
from entropyd.api.status import Identity
from entropyd.dispensing.draw import Draw, Policy
from entropyd.health import utc_now
from entropyd.records.office import ReceiptOffice
from services.errors import ServiceError, UnavailableError

STREAM_BYTES = 128
CORS = {"Access-Control-Allow-Origin": "*"}


def is_compatible_path(request: web.Request) -> bool:
    """The routes that --http-open shows to clients without credentials."""
    path = _split(request)[0]
    return path in ("/api/entropy", "/api/time", "/api/status") or path.startswith("/api/entropy/stream")


class SdrRandomApi:
    """Routes for an aiohttp application. `sleep` and `clock` are the stream's pace and /api/time's."""

    def __init__(
        self,
        office: ReceiptOffice,
        identity: Identity,
        *,
        policy: Policy = Policy.FALLBACK,
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._office = office
        self._identity = identity
        self._policy = policy
        self._clock = clock
        self._sleep = sleep
        self._streams: set[asyncio.Task[object]] = set()

    def application(self) -> web.Application:
        application = web.Application()
        application.on_shutdown.append(self._end_streams)
        application.router.add_route("*", "/{tail:.*}", self._dispatch)
        return application

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        path, query = _split(request)
        if request.method == "GET":
            if path == "/api/entropy":
                return self._entropy(query)
            if path.startswith("/api/entropy/stream"):
                return await self._stream(request)
            if path == "/api/time":
                return self._time()
            if path == "/api/status":
                return self._status()
        return _json({"error": "Not found"}, status=404)

    def _entropy(self, query_text: str) -> web.Response:
        query = parse_query(query_text, self._policy)
        dispenser = self._office.dispenser
        try:
            draw = self._office.draw_available(query.byte_count, query.policy, purpose="/api/entropy")
        except UnavailableError as error:
            body = {
                "error": error.message,
                "bytes_requested": query.byte_count,
                "bytes_returned": 0,
                "pool_remaining": 0,
                "health": dispenser.health.current.state.value,
                "failing_test": error.metadata.get("test", ""),
            }
            return _json(body, status=503)
        remaining = dispenser.pool.byte_count
        headers = CORS | _describe_in_headers(draw, remaining)
        if query.form == "raw":
            return web.Response(body=draw.data, content_type="application/octet-stream", headers=headers)
        if query.form == "hex":
            return web.Response(body=draw.data.hex().encode(), content_type="text/plain", headers=headers)
        answer: dict[str, object] = {
            "bytes_requested": query.byte_count,
            "bytes_returned": len(draw.data),
            "pool_remaining": remaining,
            "entropy_hex": draw.data.hex(),
        }
        return _json(answer | _describe(draw), headers=headers)

    async def _end_streams(self, application: web.Application) -> None:
        for task in self._streams:
            task.cancel()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=CORS)
        response.content_type = "text/event-stream"
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Connection"] = "keep-alive"
        dispenser = self._office.dispenser  # the state at the beginning; each event carries its own
        response.headers["X-Entropy-Source"] = dispenser.origin.kind.value
        response.headers["X-Entropy-Health"] = dispenser.health.current.state.value
        await response.prepare(request)
        task = asyncio.current_task()
        if task is not None:
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
        while True:
            await self._sleep(1.0)
            try:
                draw = self._office.draw_available(STREAM_BYTES, self._policy, purpose="/api/entropy/stream")
                event: dict[str, object] = {"bytes": len(draw.data), "hex": draw.data.hex()}
                event |= _describe(draw)
            except ServiceError as error:
                event = {"bytes": 0, "hex": "", "error": error.message}
            try:
                await response.write(b"data: " + _dump(event) + b"\n\n")
            except ConnectionError:
                return response

    def _time(self) -> web.Response:
        now = self._clock()
        body = {
            "epoch": int(now.timestamp()),
            "source": "system",
            "utc": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return _json(body, headers=CORS)

    def _status(self) -> web.Response:
        dispenser, identity = self._office.dispenser, self._identity
        health, ledger = dispenser.health.current, dispenser.pool.ledger
        body = {
            "pool": dispenser.pool.byte_count,
            "uptime": int(identity.uptime_seconds),
            "source": identity.source_url,
            "health": health.state.value,
            "failing_test": health.failing_test,
            "explanation": health.explanation,
            "served_bytes": {kind.value: count for kind, count in dispenser.served_bytes.items()},
            "fallback_draws": dispenser.fallback_draws,
            "credited_bits": ledger.credited_bits,
            "blocks": ledger.blocks,
            "min_entropy_bits_per_sample": identity.min_entropy_bits_per_sample,
            "assessment": "site assessment" if identity.assessed else "unassessed",
            "seed_generation": dispenser.generator.generation,
            "warnings": list(identity.warnings),
            "verify_key": identity.verify_key.hex(),
            "version": identity.version,
            "time": int(time.time()),
        }
        return _json(body, headers=CORS)


def _split(request: web.Request) -> tuple[str, str]:
    path, _, query = request.raw_path.partition("?")
    return path, query


def _describe(draw: Draw) -> dict[str, object]:
    return {
        "source": draw.source.value,
        "source_detail": draw.source_detail,
        "quality": draw.pool.value,
        "health": draw.health.state.value,
        "claimed_min_entropy_bits": draw.claimed_min_entropy_bits,
        "draw_id": draw.draw_id,
        "seed_generation": draw.generation,
    }


def _describe_in_headers(draw: Draw, remaining: int) -> dict[str, str]:
    named = {
        f"X-Entropy-{name.replace('_', '-').title()}": str(value) for name, value in _describe(draw).items()
    }
    return named | {"X-Entropy-Pool-Remaining": str(remaining)}


def _json(
    body: dict[str, object], *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(body=_dump(body), status=status, content_type="application/json", headers=headers)


def _dump(body: dict[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
