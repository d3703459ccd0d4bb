"""The HTTP side: metrics, health, credentials and error bodies over real sockets."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from services import errors
from services.addresses import Address
from services.http_server import HttpServer
from services.security import ServerSecurity

TOKEN = "0123456789abcdef0123456789abcdef"
LOCAL = Address("127.0.0.1", 0)


def application() -> web.Application:
    app = web.Application()

    async def fail(request: web.Request) -> web.Response:
        raise errors.InvalidArgumentError("n: 0 is too small; give 1 or more", field="n", reason="TOO_SMALL")

    async def break_down(request: web.Request) -> web.Response:
        raise KeyError("/secret/path")

    async def everything(request: web.Request) -> web.Response:
        return web.Response(text="caught")

    app.router.add_get("/fail", fail)
    app.router.add_get("/defect", break_down)
    app.router.add_route("*", "/{path:.*}", everything)
    return app


async def test_metrics_and_health_answer_beside_a_catch_all_route() -> None:
    registry = CollectorRegistry()
    Counter("probe_total", "Probes.", registry=registry).inc()
    async with (
        HttpServer(LOCAL, application(), security=ServerSecurity(), registry=registry) as server,
        aiohttp.ClientSession(f"http://{server.address}") as http,
    ):
        assert "probe_total 1.0" in await (await http.get("/metrics")).text()
        assert (await (await http.get("/healthz")).json()) == {"status": "ok"}
        assert await (await http.get("/anything")).text() == "caught"


async def test_errors_are_json_and_defects_tell_nothing() -> None:
    async with (
        HttpServer(LOCAL, application(), security=ServerSecurity(), registry=CollectorRegistry()) as server,
        aiohttp.ClientSession(f"http://{server.address}") as http,
    ):
        bad = await http.get("/fail")
        assert (bad.status, (await bad.json())["reason"]) == (400, "TOO_SMALL")
        defect = await http.get("/defect")
        assert defect.status == 500
        assert "secret" not in await defect.text()


async def test_a_token_guards_everything_but_health() -> None:
    security = ServerSecurity(token=TOKEN)
    async with (
        HttpServer(LOCAL, application(), security=security, registry=CollectorRegistry()) as server,
        aiohttp.ClientSession(f"http://{server.address}") as http,
    ):
        assert (await http.get("/metrics")).status == 401
        assert (await http.get("/x", headers={"Authorization": "Bearer wrong"})).status == 401
        assert (await http.get("/x", headers={"Authorization": f"Bearer {TOKEN}"})).status == 200
        assert (await http.get("/healthz")).status == 200


async def test_http_open_frees_only_the_named_routes() -> None:
    server = HttpServer(
        LOCAL,
        application(),
        security=ServerSecurity(token=TOKEN),
        registry=CollectorRegistry(),
        http_open=True,
        is_open_path=lambda request: request.path == "/api",
    )
    async with server, aiohttp.ClientSession(f"http://{server.address}") as http:
        assert (await http.get("/api")).status == 200
        assert (await http.get("/metrics")).status == 401


def test_an_open_address_needs_credentials_or_the_flag() -> None:
    everywhere = Address("0.0.0.0", 0)
    with pytest.raises(errors.ConfigurationError, match="--http-listen"):
        HttpServer(everywhere, application(), security=ServerSecurity(), registry=CollectorRegistry())
    HttpServer(
        everywhere, application(), security=ServerSecurity(), registry=CollectorRegistry(), http_open=True
    )


async def test_a_taken_port_is_named() -> None:
    async with HttpServer(
        LOCAL, application(), security=ServerSecurity(), registry=CollectorRegistry()
    ) as server:
        again = HttpServer(
            server.address, application(), security=ServerSecurity(), registry=CollectorRegistry()
        )
        with pytest.raises(errors.ConfigurationError, match=f"{server.address.port}: the port is taken"):
            async with again:
                pass
