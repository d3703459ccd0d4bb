"""`run` with daemons of its own: attach, interrupt, kill; nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from agent.launch.addresses import read_addresses
from tests.agent.cli.command import run_command


async def start(lab: Path, *flags: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.agent.cli.run_with_doubles",
        str(lab),
        *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def read_until(process: asyncio.subprocess.Process, text: bytes) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while text not in (line := await process.stdout.readline()):
            assert line, "the command ended before it said that"


def pids(lab: Path) -> list[int]:
    return [entry.pid for entry in read_addresses(lab / ".autoresearch" / "addresses.json").values()]


async def test_a_session_runs_to_its_end_and_stops_its_daemons(tmp_path: Path) -> None:
    process = await start(tmp_path / "lab")
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err) == (0, b"")
    assert b"Kept: 1 of 1 proposals, 4 training runs" in out
    assert pids(tmp_path / "lab") == []


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
async def test_an_interrupt_stops_in_order_and_leaves_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = await start(tmp_path / "lab", "--endless")
    await read_until(process, b"#1 keep")
    children = pids(tmp_path / "lab")
    assert len(children) == 4
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert b"Stopped: on request" in out
    assert err == b""
    assert not any(psutil.pid_exists(pid) for pid in children)


@pytest.mark.long
async def test_an_agent_that_does_not_answer_the_stop_is_ended_by_signal(tmp_path: Path) -> None:
    process = await start(tmp_path / "lab", "--endless", "--slow-stop", "60")
    await read_until(process, b"#1 keep")
    children = pids(tmp_path / "lab")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert time.monotonic() - began < 15, "bounded, though the machine may be busy"
    assert process.returncode == 130
    assert b"did not confirm the stop" in err
    assert not any(psutil.pid_exists(pid) for pid in children)


@pytest.mark.long
async def test_a_second_command_attaches_and_only_detaches(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    first = await start(lab, "--endless")
    await read_until(first, b"#1 keep")
    tools = await run_command("tools", "--lab", str(lab), "--json")
    assert json.loads(tools.out)["tools"][0]["name"] == "recall"
    assert "attached to" in tools.err
    second = await start(lab, "--endless")
    await read_until(second, b"#1 keep")
    second.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(second.communicate(), 20)
    assert b"detached" in err
    refused = await run_command("run", "--lab", str(lab), "--trainer", "127.0.0.1:1")
    assert refused.code == 2
    assert "--trainer" in refused.err
    stopped = await run_command("stop", "--lab", str(lab))
    assert stopped.code == 0
    await asyncio.wait_for(first.communicate(), 20)
    assert first.returncode == 0


@pytest.mark.long
async def test_daemons_end_with_a_command_that_is_killed_and_the_next_one_starts_its_own(
    tmp_path: Path,
) -> None:
    lab = tmp_path / "lab"
    first = await start(lab, "--endless")
    await read_until(first, b"#1 keep")
    old = pids(lab)
    os.kill(first.pid, signal.SIGKILL)
    await first.wait()
    second = await start(lab)
    await asyncio.wait_for(second.communicate(), 60)
    assert second.returncode == 0
    async with asyncio.timeout(20):  # the new command may be done before the old daemons have ended
        while any(psutil.pid_exists(pid) for pid in old):
            await asyncio.sleep(0.1)


async def test_a_folder_that_is_not_a_lab_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    result = await run_command("run", "--lab", str(tmp_path))
    assert result.code == 3
    assert str(tmp_path) in result.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


async def test_nothing_runs_is_said(tmp_path: Path) -> None:
    result = await run_command("stop", "--lab", str(tmp_path))
    assert result.code == 4
    assert "no agentd of the lab" in result.err
