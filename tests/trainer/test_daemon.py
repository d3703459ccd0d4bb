"""trainerd as a process: how it starts, how it ends, and what is left of its candidates."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb

from tests.trainer.daemon_process import ANYWHERE, Daemon, processes_below, trainerd
from tests.trainer.serving import request, watch_to_end
from trainer.sandbox.tiers import choose_tier

# Leaves its session twice over and ignores what can be ignored.
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
print("ready", flush=True)
time.sleep(3600)
"""
TIERS = [
    pytest.param(name, marks=() if name == "landlock" else pytest.mark.long)
    for name in ("bubblewrap", "landlock", "none")
]


def require(tier: str) -> None:
    if tier not in [one.value.lower() for one in choose_tier("auto").usable]:
        pytest.skip(f"the tier {tier} does not work on this machine")


async def start_stubborn(daemon: Daemon, name: str) -> None:
    """Returns when the candidate and its children run."""
    await daemon.client.start(request(name, STUBBORN, preset="tiny", origin=pb.SOURCE_ORIGIN_USER))
    async for event in daemon.client.watch(name, timeout=60):
        if event.log.text == "ready":
            return
    raise AssertionError("the candidate did not start")


@pytest.mark.parametrize("tier", TIERS)
async def test_cancelling_ends_processes_that_left_their_session(
    tier: str, tmp_path: Path, tiny_data: Path
) -> None:
    require(tier)
    async with trainerd(tmp_path, tiny_data, "--sandbox", tier) as daemon:
        await start_stubborn(daemon, "stubborn")
        folder = tmp_path / "runs" / "stubborn"
        assert len(processes_below(folder)) >= 3
        cancelled = await daemon.client.cancel("stubborn", "enough")
        assert cancelled.state == pb.EXPERIMENT_STATE_CANCELLED
        assert processes_below(folder) == []


async def test_without_a_time_for_orphans_a_killed_daemon_takes_its_candidates_along(
    tmp_path: Path, tiny_data: Path
) -> None:
    tier = choose_tier("auto").tier.value.lower()
    flags = ("--sandbox", tier, "--orphan-seconds", "0")
    async with trainerd(tmp_path, tiny_data, *flags) as daemon:
        await start_stubborn(daemon, "stubborn")
        await daemon.client.start(request("waiting", "x = 1\n", preset="tiny"))
        daemon.process.kill()
        await daemon.process.wait()
        for _ in range(100):
            if not processes_below(tmp_path / "runs"):
                break
            await asyncio.sleep(0.1)
        assert processes_below(tmp_path / "runs") == []
    async with trainerd(tmp_path, tiny_data, "--sandbox", tier) as daemon:
        ran = (await watch_to_end(daemon.client, "stubborn"))[-1].state
        assert ran.result.failure_reason == pb.FAILURE_REASON_INTERRUPTED
        last = (await watch_to_end(daemon.client, "waiting"))[-1].state
        assert last.result.failure_reason == pb.FAILURE_REASON_CONTRACT_VIOLATION


@pytest.mark.parametrize("flags", [("--orphan-seconds", "0"), ("--exit-with-parent",)])
async def test_sigterm_ends_candidates_that_nobody_would_adopt(
    flags: tuple[str, ...], tmp_path: Path, tiny_data: Path
) -> None:
    async with trainerd(tmp_path, tiny_data, *flags) as daemon:
        await start_stubborn(daemon, "stubborn")
        daemon.process.terminate()
        assert await asyncio.wait_for(daemon.process.wait(), 20) == 0
        assert processes_below(tmp_path / "runs") == []


async def test_a_second_daemon_on_one_state_folder_is_refused(tmp_path: Path) -> None:
    async with trainerd(tmp_path, tmp_path, "--executor", "scripted"):
        done = await asyncio.to_thread(run_trainerd, "--executor", "scripted", "--state", str(tmp_path))
        assert done.returncode == 2
        assert "in use by another trainerd" in done.stderr


async def test_metrics_and_health_are_served(tmp_path: Path) -> None:
    async with trainerd(tmp_path, tmp_path, "--executor", "scripted") as daemon:
        body = await asyncio.to_thread(fetch, f"http://{daemon.http}/metrics")
        assert "trainerd_experiments_running 0.0" in body
        assert "ok" in await asyncio.to_thread(fetch, f"http://{daemon.http}/healthz")


def test_bad_settings_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = [
            (["--listen", f"127.0.0.1:{port}", "--state", str(tmp_path / "a")], "port is taken"),
            (["--listen", "nonsense", "--state", str(tmp_path / "b")], "is not HOST:PORT"),
            (["--slots", "0"], "--slots"),
            (["--listen", "0.0.0.0:0", "--state", str(tmp_path / "c")], "--token-file"),
            (["polish"], "no verb"),
        ]
        for flags, words in cases:
            done = (
                run_trainerd("--executor", "scripted", *flags)
                if flags[0] != "polish"
                else run_trainerd(*flags)
            )
            assert done.returncode == 2, done.stderr
            assert words in done.stderr
            assert "Traceback" not in done.stderr


def test_an_unknown_environment_name_is_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "AUTORESEARCH_TRAINERD_SLOT": "3"}
    done = run_trainerd("--executor", "scripted", "--state", str(tmp_path), environment=environment)
    assert done.returncode == 2
    assert "AUTORESEARCH_TRAINERD_SLOT" in done.stderr


def run_trainerd(*flags: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    first = [] if flags and not flags[0].startswith("-") else ANYWHERE
    return subprocess.run(
        [sys.executable, "-m", "trainer", *first, *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tier", ["bubblewrap", "landlock"])
async def test_two_hundred_cancels_leave_nothing(tier: str, tmp_path: Path, tiny_data: Path) -> None:
    require(tier)
    slowest = 0.0
    async with trainerd(tmp_path, tiny_data, "--sandbox", tier) as daemon:
        for number in range(200):
            name = f"stubborn-{number}"
            await start_stubborn(daemon, name)
            began = time.monotonic()
            await daemon.client.cancel(name, "enough")
            slowest = max(slowest, time.monotonic() - began)
            assert processes_below(tmp_path / "runs" / name) == []
    print(f"slowest of 200 cancels: {slowest:.2f} s")
