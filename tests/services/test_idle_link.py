"""Links without a word: the pings that keep them, and two hours behind a router that forgets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import grpc
import pytest
from autoresearch.entropy.v1 import entropy_pb2 as entropy_pb
from autoresearch.entropy.v1 import entropy_pb2_grpc as rpc_entropy
from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc

from services.channels import CHANNEL_OPTIONS
from services.rpc_server import SERVER_OPTIONS
from services.trainer_client import TrainerClient
from tests.services.probe import Probe
from tests.services.router import Link, Router
from tests.trainer.daemon_process import trainerd
from tests.trainer.serving import request

# Between the 45 s after which our clients let go or ping and the 60 s after which a server pings.
FORGETS_AFTER = 55.0
FOR_EVER_MS = 2**31 - 1
# Beginnings of HTTP/2 frames: a PING of eight bytes, the answer to one, and SETTINGS that change nothing.
PING, PONG, NO_SETTINGS = b"\0\0\x08\x06\0", b"\0\0\x08\x06\1", b"\0\0\0\x04\0" + bytes(4)


class ForgetfulRouter(Router):
    """Drops without a word what comes over a connection that was silent for too long."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.pings = self.complaints = 0

    def passes(self, data: bytes, link: Link, *, from_client: bool) -> bool:
        link.forgotten |= time.monotonic() - link.last > FORGETS_AFTER
        self.pings += from_client and data.startswith(PING)
        self.complaints += b"too_many_pings" in data
        return super().passes(data, link, from_client=from_client)


def test_grpc_knows_every_option_that_is_set() -> None:
    """It takes a misspelt one without a word."""
    spec = find_spec("grpc._cython.cygrpc")
    assert spec is not None
    library = Path(str(spec.origin)).read_bytes()
    names = {name for name, _ in (*CHANNEL_OPTIONS, *SERVER_OPTIONS)}
    assert {name for name in names if name.encode() + b"\0" not in library} == set()


@asynccontextmanager
async def quick_server() -> AsyncIterator[str]:
    """A server whose times are a three-hundredth of ours."""
    server = grpc.aio.server(options=[quicker(*option) for option in SERVER_OPTIONS])
    rpc_entropy.add_EntropyServiceServicer_to_server(Probe(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def test_a_server_bears_a_ping_every_twenty_seconds() -> None:
    """A server's own rule is one in five minutes; after three strikes it sends GOAWAY."""
    async with quick_server() as target:
        reader, writer = await asyncio.open_connection(*target.split(":"))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NO_SETTINGS)
        for number in range(8):
            writer.write(PING + bytes(4) + number.to_bytes(8, "big"))
            answer = await asyncio.wait_for(reader.readuntil(PONG + bytes(4) + number.to_bytes(8, "big")), 10)
            assert b"too_many_pings" not in answer
            await asyncio.sleep(0.1)
        writer.close()


@pytest.mark.long
async def test_a_client_goes_on_with_its_pings_and_the_server_bears_them() -> None:
    """A channel's own rule is two pings without data, then one a minute."""
    options = [quicker(*option) for option in CHANNEL_OPTIONS]
    async with (
        quick_server() as target,
        ForgetfulRouter(target) as router,
        grpc.aio.insecure_channel(router.address, options=options) as channel,
    ):
        draw = rpc_entropy.EntropyServiceStub(channel).DrawEntropy
        call = draw(entropy_pb.DrawEntropyRequest(purpose="sleep 60"), timeout=60)
        while router.pings < 7 and not router.complaints and not call.done():
            await asyncio.sleep(0.01)
        assert router.complaints == 0
        assert not call.done()
        call.cancel()


def quicker(name: str, value: int | str) -> tuple[str, int | str]:
    is_interval = name.endswith(("keepalive_time_ms", "without_data_ms"))
    return name, int(value) // 300 if is_interval else value


@pytest.mark.nightly
@pytest.mark.timeout(3 * 3600)
async def test_two_silent_hours_through_a_forgetful_router_cost_nothing(tmp_path: Path) -> None:
    await stay_silent(tmp_path, 2 * 3600.0)


async def stay_silent(folder: Path, seconds: float) -> None:
    """A client without a call, a watch without an event, and a plain channel: that one is forgotten.

    Each of ours has a router of its own, since channels to one address share their connection."""
    flags = ("--executor", "scripted", "--scripted-seconds", "1000000")
    async with (
        trainerd(folder / "state", folder / "data", *flags) as daemon,
        ForgetfulRouter(daemon.client.target) as router,
        ForgetfulRouter(daemon.client.target) as watched,
        TrainerClient(router.address) as client,
        TrainerClient(watched.address) as watcher,
        grpc.aio.insecure_channel(
            router.address, options=[("grpc.client_idle_timeout_ms", FOR_EVER_MS)]
        ) as plain,
    ):
        await client.start(request("quiet"))
        plain_list = rpc.TrainerServiceStub(plain).ListExperiments
        await plain_list(pb.ListExperimentsRequest(), timeout=5)
        plain_link = router.links[-1]
        watch = watcher.watch("quiet", timeout=seconds + 600)
        while (await anext(watch)).state.state != pb.EXPERIMENT_STATE_TRAINING:
            pass
        end = asyncio.create_task(read_to_end(watch))
        await asyncio.sleep(seconds)

        began = time.monotonic()
        await client.get("quiet")
        answered = time.monotonic() - began
        await client.cancel("quiet", "the silence is over")
        cancelled = time.monotonic()
        state = await asyncio.wait_for(end, 30)
        seen = time.monotonic() - cancelled
        forgotten = [link for link in (*router.links, *watched.links) if link.forgotten]
        complaints = router.complaints + watched.complaints
        print(
            f"after {seconds:.0f} silent seconds: next call {answered * 1e3:.0f} ms; last event of the open "
            f"watch {seen * 1e3:.0f} ms after the cancel; connections {len(router.links)} and "
            f"{len(watched.links)}, {len(forgotten)} forgotten, {complaints} GOAWAY too_many_pings"
        )
        assert state == pb.EXPERIMENT_STATE_CANCELLED
        assert answered <= 1.0
        assert seen <= 1.0
        assert complaints == 0
        assert len(watched.links) == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await plain_list(pb.ListExperimentsRequest(), timeout=3)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert [link for link in router.links if link.forgotten] == [plain_link]
        assert not watched.links[0].forgotten


async def read_to_end(watch: AsyncIterator[pb.WatchExperimentResponse]) -> int:
    state = 0
    async for event in watch:
        if event.HasField("state"):
            state = event.state.state
    return state
