"""ferricula's HTTP API: finds the route, words failures as its clients expect them, adds CORS headers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from aiohttp import web

from memoryd.characters import one_line
from memoryd.engine import Engine
from memoryd.entropy_feed import EntropyFeed
from memoryd.http.memory_routes import MemoryRoutes
from memoryd.http.replies import Reply, bare, refused, result
from memoryd.http.system_routes import SystemRoutes
from memoryd.memory import ID_LIMIT
from services.errors import ServiceError

BODY_LIMIT = 64 * 1024 * 1024
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
}
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_SEGMENTS = frozenset(
    {
        "",
        "remember",
        "recall",
        "dream",
        "offer",
        "status",
        "inspect",
        "keystone",
        "connect",
        "disconnect",
        "neighbors",
        "clock",
        "checkpoint",
        "terms",
        "maxid",
        "identity",
        "get",
        "skg",
        "inversion",
        "delete",
        "search",
        "hybrid",
        "glossary",
        "confer",
        "tools",
        "query",
        "refs",
        "diagnostic",
        "health",
    }
)
log = logging.getLogger(__name__)

Handler = Callable[[bytes], Awaitable[Reply]]


def is_ferricula_path(request: web.Request) -> bool:
    """Whether a path is one of ferricula's, which --http-open shows to clients without credentials."""
    return request.method in ("GET", "POST", "DELETE", "OPTIONS") and (
        request.path.strip("/").split("/")[0] in OPEN_SEGMENTS
    )


class FerriculaApi:
    def __init__(
        self,
        engine: Engine,
        feed: EntropyFeed,
        *,
        strict: bool = False,
        allowed_origins: Sequence[str] = (),
        any_origin: bool = False,
    ) -> None:
        memory = MemoryRoutes(engine, strict=strict)
        system = SystemRoutes(engine, feed)
        self._memory, self._system = memory, system
        self._allowed_origins = frozenset(allowed_origins)
        self._any_origin = any_origin
        self._get: dict[str, Callable[[], Awaitable[Reply]]] = {
            "": system.dashboard,
            "diagnostic": system.dashboard,
            "status": system.status,
            "health": system.health,
            "terms": system.terms,
            "skg": system.skg,
            "clock": system.clock,
            "identity": system.identity,
            "glossary": system.glossary,
            "tools": system.tools,
            "maxid": memory.maxid,
            "dream/latest": system.latest_dream,
        }
        self._post: dict[str, Handler] = {
            "remember": memory.remember,
            "recall": memory.recall,
            "search": memory.search,
            "hybrid": memory.hybrid,
            "query": memory.query,
            "connect": system.connect,
            "disconnect": system.disconnect,
            "offer": system.offer,
            "confer": system.confer,
        }
        self._by_id: dict[tuple[str, str], Callable[[int], Awaitable[Reply]]] = {
            ("GET", "inspect"): memory.inspect,
            ("GET", "get"): memory.get,
            ("GET", "neighbors"): system.neighbors,
            ("GET", "inversion"): system.inversion,
            ("POST", "keystone"): memory.keystone,
            ("POST", "delete"): memory.delete,
            ("DELETE", "delete"): memory.delete,
        }

    def attach(self, application: web.Application) -> None:
        """Serves every path that has no route yet; call it after the other routes were added."""
        application.router.add_route("*", "/{path:.*}", self.handle)

    async def handle(self, request: web.Request) -> web.Response:
        reply = await self._answer(request)
        return web.Response(
            body=reply.body.encode("utf-8", "replace"),
            status=reply.status,
            headers={"Content-Type": reply.content_type, **CORS},
        )

    async def _answer(self, request: web.Request) -> Reply:
        if request.method == "OPTIONS":
            return Reply("{}")
        if request.method != "GET" and not self._trusts(request):
            return refused(
                f"pages of {request.headers.get('Origin')} may not change this store; "
                "start memoryd with --allow-origin"
            )
        try:
            body = await request.read() if request.method == "POST" else b""
        except web.HTTPRequestEntityTooLarge:
            return result(f"error: the body is larger than {BODY_LIMIT} bytes")
        except (web.RequestPayloadError, ConnectionError) as error:  # or the caller has hung up
            return result(f"error: the body cannot be read: {one_line(str(error))}")
        return await self.answer(request.method, request.raw_path, body)

    async def answer(self, method: str, target: str, body: bytes = b"") -> Reply:
        """The answer to a request for a path with its query. Never raises."""
        path, _, query = target.partition("?")
        parts = path.strip("/").split("/")
        try:
            return await self._dispatch(method, target, parts, query, body)
        except ServiceError as error:
            return self._failure(parts[0], error.message)
        except Exception:
            log.exception("unexpected error", extra={"path": path})
            return self._failure(parts[0], "internal error; see the daemon's log")

    async def _dispatch(
        self, method: str, target: str, parts: Sequence[str], query: str, body: bytes
    ) -> Reply:
        path = "/".join(parts)
        if method == "GET" and path in self._get:
            return await self._get[path]()
        if method == "GET" and path == "refs/distinct":
            return await self._memory.distinct(query)
        if method == "GET" and len(parts) == 2 and parts[0] == "skg":
            return await self._system.skg(parts[1])
        if method == "POST" and path in self._post:
            return await self._post[path](body)
        if method == "POST" and path == "dream":
            return await self._system.dream()
        if method == "POST" and path == "checkpoint":
            return await self._system.checkpoint()
        by_id = self._by_id.get((method, parts[0])) if len(parts) == 2 else None
        if by_id is not None:
            memory_id = read_id(parts[1])
            return refused("invalid id") if memory_id is None else await by_id(memory_id)
        return refused(f"unknown route: {method} {target}")

    def _failure(self, segment: str, message: str) -> Reply:
        text = f"error: {message}"
        return bare(text) if segment in ("get", "query", "confer", "tools", "delete") else result(text)

    def _trusts(self, request: web.Request) -> bool:
        """Whether the page that sends a change may do so; programs send no Origin."""
        origin = request.headers.get("Origin")
        if origin is None or self._any_origin or origin in self._allowed_origins:
            return True
        try:
            return urlsplit(origin).hostname in LOCAL_HOSTS
        except ValueError:
            return False


def read_id(text: str) -> int | None:
    """An unsigned 32-bit decimal, None for anything else."""
    digits = text.removeprefix("+")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 20:
        return None
    number = int(digits)
    return number if number < ID_LIMIT else None
