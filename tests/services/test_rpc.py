"""Server and client of the kit against each other over real sockets."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from services import errors, logs
from services.addresses import Address
from services.entropy_client import EntropyClient
from services.memory_client import MemoryClient
from services.rpc_errors import STATUS_BY_ERROR
from services.security import ClientSecurity, ServerSecurity
from tests.services.probe import NAME, Probe, serve_probe

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("kind", sorted(STATUS_BY_ERROR, key=lambda kind: kind.__name__))
async def test_every_error_of_the_tree_arrives_as_it_was_raised(kind: type[errors.ServiceError]) -> None:
    probe = Probe()
    probe.raises["boom"] = kind(
        "byte_count: 7 is odd; give an even one", reason="ODD", metadata={"byte_count": "7"}
    )
    async with serve_probe(probe) as server, EntropyClient(str(server.address)) as client:
        with pytest.raises(kind) as caught:
            await client.draw(1, purpose="boom")
    assert type(caught.value) is kind
    if kind is errors.InternalError:
        return  # its reason arrives as well, but nothing may depend on it
    assert caught.value.message == "byte_count: 7 is odd; give an even one"
    assert (caught.value.reason, caught.value.metadata["byte_count"]) == ("ODD", "7")


async def test_a_field_error_names_its_field_and_a_retry_hint_survives() -> None:
    probe = Probe()
    probe.raises["field"] = errors.InvalidArgumentError("bad", field="byte_count")
    probe.raises["busy"] = errors.ResourceExhaustedError("full", retry_after=1.5)
    async with serve_probe(probe) as server, EntropyClient(str(server.address)) as client:
        with pytest.raises(errors.InvalidArgumentError) as field:
            await client.draw(1, purpose="field")
        with pytest.raises(errors.ResourceExhaustedError) as busy:
            await client.draw(1, purpose="busy")
    assert field.value.field == "byte_count"
    assert busy.value.retry_after == 1.5


async def test_a_defect_is_logged_and_its_text_stays_inside(caplog: pytest.LogCaptureFixture) -> None:
    probe = Probe()
    probe.raises["defect"] = KeyError("/secret/path")
    probe.raises["stream"] = KeyError("/secret/path")
    async with serve_probe(probe) as server, EntropyClient(str(server.address)) as client:
        with caplog.at_level(logging.ERROR), pytest.raises(errors.InternalError) as caught:
            await client.draw(1, purpose="defect")
        with pytest.raises(errors.InternalError) as stream_error:
            _ = [health async for health in client.watch_health()]
    assert "secret" not in str(caught.value) + str(stream_error.value)
    assert "/secret/path" in caplog.text


async def test_streams_carry_typed_errors_after_their_messages() -> None:
    probe = Probe()
    probe.raises["stream"] = errors.NotFoundError("gone", reason="SOURCE_GONE")
    seen = []
    async with serve_probe(probe) as server, EntropyClient(str(server.address)) as client:
        with pytest.raises(errors.NotFoundError) as caught:
            async for health in client.watch_health():
                seen.append(health.sequence)
    assert (seen, caught.value.reason) == ([1, 2, 3], "SOURCE_GONE")


@pytest.mark.parametrize("given", [None, ClientSecurity(token="wrong" * 8), ClientSecurity(token=TOKEN[:-1])])
async def test_a_missing_or_wrong_token_is_refused(given: ClientSecurity | None) -> None:
    probe = Probe()
    async with (
        serve_probe(probe, security=ServerSecurity(token=TOKEN)) as server,
        EntropyClient(str(server.address), security=given) as client,
    ):
        with pytest.raises(errors.UnauthenticatedError):
            await client.draw(1, purpose="")
        with pytest.raises(errors.UnauthenticatedError):
            _ = [health async for health in client.watch_health()]
    assert probe.calls == 0


async def test_the_right_token_is_accepted_and_health_needs_none() -> None:
    async with serve_probe(Probe(), security=ServerSecurity(token=TOKEN)) as server:
        async with EntropyClient(str(server.address), security=ClientSecurity(token=TOKEN)) as client:
            assert (await client.draw(3, purpose="")).entropy == b"xxx"
        assert await health_of(str(server.address), NAME) == health_pb2.HealthCheckResponse.SERVING


async def health_of(target: str, service: str) -> int:
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        return int(answer.status)


async def test_a_taken_port_is_an_error_and_not_shared() -> None:
    async with serve_probe(Probe()) as server:
        with pytest.raises(
            errors.ConfigurationError, match=f"--listen: cannot bind 127.0.0.1:{server.address.port}"
        ):
            async with serve_probe(Probe(), port=server.address.port):
                pass


async def test_an_open_address_without_credentials_is_refused() -> None:
    from services.call_observer import CallObserver
    from services.rpc_server import GrpcServer

    with pytest.raises(errors.ConfigurationError, match=r"--listen: 0\.0\.0\.0:0 can be reached"):
        GrpcServer(
            Address("0.0.0.0", 0), security=ServerSecurity(), observer=CallObserver(CollectorRegistry())
        )


async def test_a_running_call_finishes_while_the_server_drains() -> None:
    probe = Probe()
    async with serve_probe(probe) as server:
        client = EntropyClient(str(server.address))
        running = asyncio.create_task(client.draw(2, purpose="sleep 0.3"))
        while not probe.live_handlers:
            await asyncio.sleep(0.01)
    assert (await running).entropy == b"xx"
    await client.close()


async def test_a_call_that_gets_no_answer_ends_at_its_deadline() -> None:
    async with serve_probe(Probe(), drain_seconds=0.1) as server:
        async with EntropyClient(str(server.address), timeout=0.2) as client:
            with pytest.raises(errors.DeadlineExceededError):
                await client.draw(1, purpose="sleep 30")


async def test_nobody_listening_is_unavailable() -> None:
    async with MemoryClient("127.0.0.1:1", timeout=3) as client:
        with pytest.raises(errors.UnavailableError):
            await client.dream()  # is not repeated


async def test_unavailable_calls_are_repeated_within_their_deadline() -> None:
    probe = Probe()
    async with serve_probe(probe) as server, EntropyClient(str(server.address)) as client:
        assert (await client.draw(1, purpose="unavailable twice")).entropy == b"x"
    assert probe.calls == 3


async def test_the_trace_id_of_the_caller_reaches_the_handler() -> None:
    probe = Probe()
    async with serve_probe(probe) as server, EntropyClient(str(server.address)) as client:
        logs.trace_id.set("trace-of-the-test")
        await client.draw(1, purpose="")
        logs.trace_id.set("")
    assert probe.trace_ids == ["trace-of-the-test"]


async def test_calls_are_counted_by_method_and_code() -> None:
    registry = CollectorRegistry()
    probe = Probe()
    probe.raises["no"] = errors.NotFoundError("no")
    async with serve_probe(probe, registry=registry) as server, EntropyClient(str(server.address)) as client:
        await client.draw(1, purpose="")
        with pytest.raises(errors.NotFoundError):
            await client.draw(1, purpose="no")
        _ = [health async for health in client.watch_health()]
    method = f"/{NAME}/DrawEntropy"
    counted = "grpc_server_handled_total"
    assert registry.get_sample_value(counted, {"grpc_method": method, "grpc_code": "OK"}) == 1
    assert registry.get_sample_value(counted, {"grpc_method": method, "grpc_code": "NOT_FOUND"}) == 1
    assert registry.get_sample_value("grpc_server_open_streams", {"grpc_method": f"/{NAME}/WatchHealth"}) == 0


async def test_abandoned_calls_leave_no_handler_behind() -> None:
    """grpcio 1.83.0 to 1.85.1 fail this: the reason for the upper bound in pyproject.toml."""
    probe = Probe()
    async with serve_probe(probe, drain_seconds=0.1) as server:
        async with EntropyClient(str(server.address), timeout=30) as client:
            tasks = [asyncio.create_task(client.draw(1, purpose="sleep 60")) for _ in range(20)]
            while probe.live_handlers < 20:
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _ in range(200):
                if not probe.live_handlers:
                    break
                await asyncio.sleep(0.02)
            assert probe.live_handlers == 0
