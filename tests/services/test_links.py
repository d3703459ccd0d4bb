"""Links as they are in the field: black holes, forgetful routers, servers that go away under load."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from autoresearch.entropy.v1 import entropy_pb2 as pb
from autoresearch.entropy.v1 import entropy_pb2_grpc as rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.channels import CHANNEL_OPTIONS, IDLE_SECONDS, open_channel
from services.entropy_client import EntropyClient
from services.errors import DeadlineExceededError, UnavailableError
from services.rpc_server import SERVER_OPTIONS
from tests.services.probe import NAME, Probe, serve_probe
from tests.services.router import Router

SERVICES = Path(__file__).resolve().parents[2] / "services"


async def test_an_idle_client_lets_go_of_its_connection_before_a_router_forgets_it() -> None:
    """Routers drop idle connections after a minute or more; the next call must not wait on a dead one."""
    async with serve_probe(Probe(), drain_seconds=0.1) as server, Router(str(server.address)) as router:
        async with open_channel(router.address, idle_seconds=1.0) as channel:
            draw = rpc.EntropyServiceStub(channel).DrawEntropy
            assert (await draw(pb.DrawEntropyRequest(byte_count=1), timeout=5)).entropy == b"x"
            while not router.closed:
                await asyncio.sleep(0.05)
            router.forget()
            assert (await draw(pb.DrawEntropyRequest(byte_count=2), timeout=5)).entropy == b"xx"
    assert len(router.links) == 2


def test_times_of_client_and_server_fit_each_other() -> None:
    """The client is gone, or pings, within a minute; no ping comes sooner than the server allows."""
    client, server = dict(CHANNEL_OPTIONS), dict(SERVER_OPTIONS)
    assert IDLE_SECONDS < 60
    assert int(client["grpc.keepalive_time_ms"]) < 60_000
    assert int(client["grpc.keepalive_time_ms"]) > server["grpc.http2.min_ping_interval_without_data_ms"]
    assert client["grpc.keepalive_permit_without_calls"] == 0


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_peer_that_takes_everything_and_answers_nothing_costs_the_deadline(kind: str) -> None:
    held: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await reader.read(-1)

    hole = await asyncio.start_server(swallow, "127.0.0.1", 0)
    target = f"127.0.0.1:{hole.sockets[0].getsockname()[1]}"
    async with hole, EntropyClient(target, timeout=0.5) as client:
        with pytest.raises((DeadlineExceededError, UnavailableError)):
            if kind == "unary":
                await asyncio.wait_for(client.draw(1, purpose=""), 10)
            else:
                async with asyncio.timeout(10):
                    _ = [health async for health in client.watch_health(timeout=0.5)]
        assert held
        for writer in held:
            writer.close()


@pytest.mark.parametrize("path", sorted(SERVICES.glob("*_client.py")), ids=lambda path: path.stem)
def test_every_call_of_the_typed_clients_goes_through_the_two_that_set_a_deadline(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_stub(node.value)]
    handed = [
        call.args[0]
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("self._call", "self._stream")
    ]
    assert used
    assert {ast.unparse(node) for node in used} == {ast.unparse(node) for node in handed}
    assert len(used) == len(handed)
    streams = [
        call
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "self._stream"
    ]
    assert all("timeout" in {word.arg for word in call.keywords} for call in streams)


def is_stub(node: ast.expr) -> bool:
    return ast.unparse(node) == "self._stub"


async def test_a_server_that_drains_says_so_first_and_finishes_what_it_took() -> None:
    probe = Probe()
    async with serve_probe(probe, drain_seconds=10.0) as server:
        channel = grpc.aio.insecure_channel(str(server.address))
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=NAME), timeout=30
        )
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        client = EntropyClient(str(server.address))
        running = [asyncio.create_task(client.draw(1, purpose="sleep 0.5")) for _ in range(50)]
        while probe.live_handlers < 50:
            await asyncio.sleep(0.01)
        said = asyncio.create_task(read_once(watch))  # an open watch would hold up the end of the drain
    answers = await asyncio.gather(*running)
    assert await said == health_pb2.HealthCheckResponse.NOT_SERVING
    assert [answer.entropy for answer in answers] == [b"x"] * 50
    await client.close()
    await channel.close()


async def read_once(watch: Any) -> int:
    status = (await watch.read()).status
    watch.cancel()
    return int(status)
