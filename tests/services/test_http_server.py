"""The HTTP side: metrics, health, credentials and error bodies over real sockets."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from services import errors
from services.addresses import Address
from services.http_server import HttpServer
from services.security import ServerSecurity
from tests.services.test_credentials import Authority

TOKEN = "0123456789abcdef0123456789abcdef"
LOCAL, EVERYWHERE = Address("127.0.0.1", 0), Address("0.0.0.0", 0)


def application() -> web.Application:
    app = web.Application()

    async def fail(request: web.Request) -> web.Response:
        raise errors.InvalidArgumentError("n: 0 is too small; give 1 or more", field="n", reason="TOO_SMALL")

    async def break_down(request: web.Request) -> web.Response:
        raise KeyError("/secret/path")

    async def damaged(request: web.Request) -> web.Response:
        raise errors.DataLossError("page 7 is damaged; restore the backup", reason="STORE_CORRUPT")

    async def inside(request: web.Request) -> web.Response:
        raise errors.InternalError("/secret/path")

    async def everything(request: web.Request) -> web.Response:
        return web.Response(text="caught")

    app.router.add_get("/fail", fail)
    app.router.add_get("/defect", break_down)
    app.router.add_get("/damaged", damaged)
    app.router.add_get("/inside", inside)
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
        damaged = await http.get("/damaged")
        assert (damaged.status, (await damaged.json())["error"]) == (
            500,
            "page 7 is damaged; restore the backup",
        )
        for path in ("/defect", "/inside"):
            defect = await http.get(path)
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


async def test_other_machines_reach_the_named_routes_only_without_a_token() -> None:
    server = HttpServer(
        EVERYWHERE,
        application(),
        security=ServerSecurity(),
        registry=CollectorRegistry(),
        http_open=True,
        is_open_path=lambda request: request.path == "/api",
    )
    async with server, other_machine() as http:
        address = f"http://127.0.0.1:{server.address.port}"
        assert (await http.get(f"{address}/api")).status == 200
        assert (await http.get(f"{address}/metrics")).status == 401


async def test_a_client_certificate_is_a_credential_by_itself(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("server")
    security = ServerSecurity(None, cert, key, authority.ca)
    server = HttpServer(EVERYWHERE, application(), security=security, registry=CollectorRegistry())
    known = ssl.create_default_context(cafile=str(authority.ca))
    known.load_cert_chain(*authority.issue("prometheus"))
    unknown = ssl.create_default_context(cafile=str(authority.ca))
    async with server, other_machine() as http:
        metrics = f"https://localhost:{server.address.port}/metrics"
        assert (await http.get(metrics, ssl=known)).status == 200
        with pytest.raises(aiohttp.ClientError):
            await http.get(metrics, ssl=unknown)


def other_machine() -> aiohttp.ClientSession:
    """Connects from an address that is not the one that servers take for this machine's own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0), family=socket.AF_INET)
    )


def test_an_open_address_needs_credentials_or_the_flag() -> None:
    with pytest.raises(errors.ConfigurationError, match="--http-listen"):
        HttpServer(EVERYWHERE, application(), security=ServerSecurity(), registry=CollectorRegistry())
    HttpServer(
        EVERYWHERE, application(), security=ServerSecurity(), registry=CollectorRegistry(), http_open=True
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
