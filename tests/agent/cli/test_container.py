"""`autoresearch container`, and how children are ended: real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from agent.cli.ending import end_process
from agent.cli.exit_codes import ExitCode
from services.health_check import is_serving
from tests.agent.cli.command import start_command
from tests.agent.cli.scripted_agentd import ScriptedAgent, serve_agent

DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
)
LISTENING = "import time; print(flush=True); time.sleep(600)"


@pytest.mark.parametrize(
    ("program", "grace", "code"),
    [(LISTENING, 60.0, -signal.SIGTERM), (DEAF, 0.2, -signal.SIGKILL), ("print()", 60.0, 0)],
    ids=["listens", "is deaf", "has ended"],
)
async def test_a_child_is_asked_then_killed(program: str, grace: float, code: int) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    await child.stdout.readline()
    if not code:
        await child.wait()
    assert await end_process(child, grace) == code
    assert not psutil.pid_exists(child.pid)


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


@asynccontextmanager
async def container(
    folder: Path, *flags: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A running `autoresearch container` without a terminal, and the address of its agentd."""
    grpc_port, http_port = free_ports(2)
    (folder / "token").write_text("a-token-of-sixteen-bytes")
    process = await start_command(
        "container", *flags, "--lab", str(folder / "lab"), "--token-file", str(folder / "token"),
        "--listen", f"127.0.0.1:{grpc_port}", "--http-listen", f"127.0.0.1:{http_port}",
        cwd=folder,
        AUTORESEARCH_AGENTD_TOKEN_FILE=str(folder / "token"),
        AUTORESEARCH_AGENTD_TRAINER="127.0.0.1:1",
        **environment,
    )  # fmt: skip
    try:
        yield process, f"127.0.0.1:{grpc_port}"
    finally:
        if process.returncode is None:
            for one in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
                one.kill()
            await process.wait()


async def family_of(process: asyncio.subprocess.Process, size: int) -> list[psutil.Process]:
    """The descendants, once there are so many."""
    while len(found := psutil.Process(process.pid).children(recursive=True)) < size:
        assert process.returncode is None
        await asyncio.sleep(0.05)
    return found


async def until_serving(process: asyncio.subprocess.Process, address: str) -> None:
    while not await is_serving(address, timeout=1.0):
        assert process.returncode is None
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("flag", "size"), [("--daemon", 1), pytest.param("--session", 2, marks=pytest.mark.long)]
)
async def test_sigterm_ends_agentd_and_its_session_and_is_no_failure(
    tmp_path: Path, flag: str, size: int
) -> None:
    async with container(tmp_path, flag) as (process, address):
        await until_serving(process, address)
        family = await family_of(process, size)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == ExitCode.OK
        assert not any(one.is_running() for one in family)


@pytest.mark.long
async def test_an_agentd_that_dies_is_a_failure_of_the_container(tmp_path: Path) -> None:
    """With or without a session: the engine starts the container again."""
    for flag, size in (("--daemon", 1), ("--session", 2)):
        async with container(tmp_path, flag) as (process, address):
            await until_serving(process, address)
            family = await family_of(process, size)
            next(one for one in family if "agent" in one.cmdline()).kill()
            assert await asyncio.wait_for(process.wait(), 60) == ExitCode.FAILED, flag
            assert not any(one.is_running() for one in family)


async def test_an_agentd_that_cannot_start_is_a_failure_in_its_own_words(tmp_path: Path) -> None:
    async with container(tmp_path, "--daemon", AUTORESEARCH_AGENTD_REPLICATES="none") as (process, _):
        _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == ExitCode.FAILED
    assert b"replicates" in said
    assert b"agentd did not start" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize("options", ["", "--provider search --tag nov28"])
async def test_what_a_session_prints_to_be_copied_is_typed_on_the_host(tmp_path: Path, options: str) -> None:
    (tmp_path / "token").write_text("a-token-of-sixteen-bytes")
    mine, its = os.openpty()
    async with serve_agent(ScriptedAgent()) as address:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent.cli", "container", "--shared-agent", address, "--options", options,
            "--token-file", str(tmp_path / "token"), stdin=its, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 60)
    os.close(mine)
    os.close(its)
    assert process.returncode == 0, err
    tag = " --tag nov28" if options else ""
    assert [line.partition(": ")[2] for line in out.decode().splitlines()[-3:]] == [
        "docker compose run agent" + (f" container --options '{options}'" if options else ""),
        f"docker compose run --rm agent history --lab /lab{tag}",
        f"docker compose run --rm agent report --lab /lab{tag}",
    ]
