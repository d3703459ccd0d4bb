"""Calls that fail for the moment are made again until they succeed; never one that must run once."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.agent_client import AgentClient
from services.channels import CHANNEL_OPTIONS
from services.entropy_client import EntropyClient
from services.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    ServiceError,
    UnavailableError,
)
from services.memory_client import MemoryClient
from services.repeats import ATTEMPTS, BUDGET, LONGEST_PAUSE, UNREACHED_ATTEMPTS, Repeats
from tests.memoryd.running import running
from tests.services.failing_proxy import failing_proxy
from tests.services.probe import Probe, serve_probe

LOST = UnavailableError("lost")


class Pauses:
    """A clock that only notes for how long it was asked to sleep."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)


async def in_turn(number: int, workers: int, call: Callable[[int], Awaitable[None]]) -> None:
    """Makes `number` calls, `workers` at a time."""
    todo = iter(range(number))

    async def work() -> None:
        for index in todo:
            await call(index)

    await asyncio.gather(*(work() for _ in range(workers)))


async def test_three_attempts_in_ten_fail_and_every_call_succeeds() -> None:
    """Two of these calls need more than the five attempts that gRPC's own policy would make."""
    done: list[int] = []
    async with (
        serve_probe(Probe(), drain_seconds=0.1) as server,
        failing_proxy(str(server.address), 0.3, seed=9) as proxy,
        EntropyClient(proxy.address) as client,
    ):

        async def draw(index: int) -> None:
            assert (await client.draw(1, purpose=f"call {index}")).entropy == b"x"
            done.append(index)

        await in_turn(200, 10, draw)
    assert sorted(done) == list(range(200))
    assert proxy.attempts.total() > 260
    assert sum(attempts > 5 for attempts in proxy.attempts.values()) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda target: MemoryClient(target).remember("without a key"),
        lambda target: MemoryClient(target).dream(),
        lambda target: MemoryClient(target).offer_entropy(b"x", "test"),
        lambda target: MemoryClient(target).backup("copy.db"),
        lambda target: AgentClient(target).call_tool("session", "run_experiment", "{}"),
    ],
    ids=["remember", "dream", "offer_entropy", "backup", "call_tool"],
)
async def test_a_call_that_must_run_once_is_made_once(call: Callable[[str], Awaitable[object]]) -> None:
    async with failing_proxy("127.0.0.1:1", 1.0) as proxy:
        with pytest.raises(UnavailableError):
            await call(proxy.address)
    assert proxy.attempts.total() == 1


async def test_a_remembered_key_makes_the_call_repeatable() -> None:
    async with failing_proxy("127.0.0.1:1", 1.0) as proxy, MemoryClient(proxy.address, timeout=1.0) as client:
        with pytest.raises(UnavailableError):
            await client.remember("once", idempotency_key="once")
    assert proxy.attempts.total() > 1


async def test_a_stream_is_opened_again_before_its_first_message_and_not_after() -> None:
    probe = Probe()
    probe.raises |= {
        "open": LOST,
        "stream": LOST,
    }  # the first two fail at once, the third after three messages
    seen: list[int] = []
    async with serve_probe(probe, drain_seconds=0.1) as server, EntropyClient(str(server.address)) as client:
        with pytest.raises(UnavailableError):
            async for health in client.watch_health():
                seen.append(health.sequence)
    assert (seen, probe.calls) == ([1, 2, 3], 3)


async def test_pauses_grow_with_full_jitter_and_end_after_the_last_attempt() -> None:
    clock, draws = Pauses(), iter([1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 1.0])
    repeats = Repeats(jitter=lambda: next(draws), sleep=clock.sleep)
    for failures in range(1, ATTEMPTS):
        await repeats.wait(LOST, failures, 60.0)
    with pytest.raises(UnavailableError, match="lost"):
        await repeats.wait(LOST, ATTEMPTS, 60.0)
    assert clock.asked == pytest.approx([0.05, 0.05, 0.0, 0.4, 0.8, LONGEST_PAUSE, LONGEST_PAUSE])


@pytest.mark.parametrize("kind", [DeadlineExceededError, InternalError, FailedPreconditionError])
async def test_only_unavailable_is_repeated(kind: type[ServiceError]) -> None:
    clock = Pauses()
    with pytest.raises(kind):
        await Repeats(sleep=clock.sleep).wait(kind("no"), 1, 60.0)
    assert clock.asked == []


async def test_no_pause_outlasts_the_deadline_and_a_hint_of_the_server_is_kept() -> None:
    clock = Pauses()
    repeats = Repeats(jitter=lambda: 1.0, sleep=clock.sleep)
    await repeats.wait(UnavailableError("busy", retry_after=2.0), 1, 2.1)
    with pytest.raises(UnavailableError):
        await repeats.wait(UnavailableError("busy", retry_after=2.0), 1, 2.0)
    with pytest.raises(UnavailableError):
        await repeats.wait(LOST, 1, 0.05)
    assert clock.asked == [2.0]


async def test_a_server_that_refuses_is_asked_twenty_times_more_and_then_once_a_call() -> None:
    clock = Pauses()
    repeats = Repeats(jitter=lambda: 0.5, sleep=clock.sleep)
    for _ in range(BUDGET):
        await repeats.wait(LOST, 1, 60.0)
    with pytest.raises(UnavailableError):
        await repeats.wait(LOST, 1, 60.0)
    repeats.answered()
    await repeats.wait(LOST, 1, 60.0)
    with pytest.raises(UnavailableError):
        await repeats.wait(LOST, 1, 60.0)
    assert len(clock.asked) == BUDGET + 1


async def test_where_nothing_can_be_connected_the_pauses_outlast_those_of_the_channel() -> None:
    clock = Pauses()
    repeats = Repeats(jitter=lambda: 0.0, sleep=clock.sleep)
    for _ in range(BUDGET):
        for failures in range(1, UNREACHED_ATTEMPTS):
            await repeats.wait(LOST, failures, 60.0, reached=False)
        with pytest.raises(UnavailableError):
            await repeats.wait(LOST, UNREACHED_ATTEMPTS, 60.0, reached=False)
    longest = int(dict(CHANNEL_OPTIONS)["grpc.max_reconnect_backoff_ms"])
    assert sum(clock.asked) / BUDGET > 1.2 * longest / 1000


async def test_a_server_that_comes_back_is_found_by_the_next_call() -> None:
    """However many calls failed while it was away."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with EntropyClient(f"127.0.0.1:{port}") as client:
        calls = (client.draw(1, purpose="") for _ in range(2 * BUDGET))
        for lost in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(lost, UnavailableError)
        async with serve_probe(Probe(), port=port, drain_seconds=0.1):
            assert (await client.status(timeout=60.0)).source_url == "probe:"


async def test_a_client_that_is_closed_while_it_waits_fails_as_the_call_did() -> None:
    async def close_meanwhile(seconds: float) -> None:
        repeats.close()

    repeats = Repeats(sleep=close_meanwhile)
    with pytest.raises(UnavailableError, match="lost"):
        await repeats.wait(LOST, 1, 60.0)


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", [0.0, 0.3])
async def test_ten_thousand_memories_through_failures(
    tmp_path: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the failures lose the request, half the answer; 99.9 % of the calls must succeed."""
    number, failed, seconds = 10_000, 0, []
    async with (
        running(tmp_path) as daemon,
        failing_proxy(daemon.rpc.target, share) as proxy,
        MemoryClient(proxy.address) as client,
    ):

        async def remember(index: int) -> None:
            nonlocal failed
            started = time.monotonic()
            try:
                await client.remember(f"run {index}", idempotency_key=f"key {index}")
            except UnavailableError:
                failed += 1
            seconds.append(time.monotonic() - started)

        await in_turn(number, 8, remember)
        texts = [memory.row.text for memory in daemon.engine.store.mirror.memories()]
    cuts = statistics.quantiles(seconds, n=100)
    with capsys.disabled():
        print(
            f"\nfailing {share:.0%}: {number - failed} of {number} calls succeeded, "
            f"{proxy.attempts.total() / number:.3f} attempts a call, "
            f"mean {statistics.mean(seconds) * 1000:.1f} ms, median {cuts[49] * 1000:.1f} ms, "
            f"p95 {cuts[94] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms"
        )
    assert failed <= number // 1000
    assert len(texts) == len(set(texts)) >= number - failed
