"""Child processes of the launcher, with a small daemon that speaks as ours do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from agent.launch.addresses import DaemonAddress, LaunchLock, read_addresses, write_addresses
from agent.launch.launcher import start_daemon
from agent.launch.plan import MODULES, DaemonPlan, LaunchOptions
from agent.launch.stack import Stack
from services.agent_client import AgentClient
from services.errors import ConfigurationError, UnavailableError
from tests.agent.cli.command import run_command

DOUBLE = "tests.agent.cli.scripted_agentd"


def write_module(tmp_path: Path, name: str, text: str) -> str:
    (tmp_path / f"{name}.py").write_text(text)
    return name


def options(tmp_path: Path) -> LaunchOptions:
    return LaunchOptions(tmp_path / "lab", tmp_path / "data", modules=dict.fromkeys(MODULES, DOUBLE))


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_daemon_is_started_read_and_stopped(tmp_path: Path) -> None:
    daemon = await start_daemon(DaemonPlan("agentd", DOUBLE, ()), tmp_path)
    async with AgentClient(daemon.grpc) as client:
        assert [session.session_id for session in await client.list_sessions()] == ["s"]
    assert daemon.http
    await daemon.stop(5.0)
    assert not psutil.pid_exists(daemon.process.pid)
    assert daemon.process.returncode == 0
    assert (tmp_path / "agentd.log").exists()


async def test_settings_that_a_daemon_refuses_are_said_in_its_own_words(tmp_path: Path) -> None:
    plan = DaemonPlan("entropyd", DOUBLE, ("--listen", "nowhere"))
    with pytest.raises(ConfigurationError, match=r"entropyd: .*--listen.*'nowhere'"):
        await start_daemon(plan, tmp_path)


async def test_a_daemon_that_ends_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = write_module(tmp_path, "dying", "import sys; sys.exit('no space on device')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"code 1 before it served: no space on device \(log: "):
        await start_daemon(DaemonPlan("memoryd", module, ()), tmp_path)


async def test_a_silent_daemon_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write_module(tmp_path, "silent", "import time; print('starting', flush=True); time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="did not announce"):
        await start_daemon(DaemonPlan("entropyd", module, ()), tmp_path, announce_timeout=0.5)
    assert [child for child in psutil.Process().children() if module in child.cmdline()] == []


async def test_a_start_that_is_given_up_leaves_no_grandchild(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    module = write_module(tmp_path, "parent", text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    starting = asyncio.create_task(start_daemon(DaemonPlan("entropyd", module, ()), tmp_path))

    async def has_child() -> bool:
        return (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != ""

    await until(has_child, 60.0)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    grandchild = int((tmp_path / "pid").read_text())

    async def is_gone() -> bool:
        try:
            return psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await until(is_gone, 10.0)


async def test_the_stack_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    lab = options(tmp_path)
    async with Stack(lab, note=print) as stack:
        addresses = read_addresses(lab.state / "addresses.json")
        assert addresses == stack.addresses
        assert set(addresses) == {"entropyd", "memoryd", "trainerd", "agentd"}
        command = psutil.Process(addresses["agentd"].pid).cmdline()
        assert command[command.index("--trainer") + 1] == addresses["trainerd"].grpc
        pids = [address.pid for address in addresses.values()]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (lab.state / "addresses.json").exists()


async def test_a_daemon_that_dies_is_started_again_on_its_port(tmp_path: Path) -> None:
    notes: list[str] = []
    lab = options(tmp_path)

    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0)

    async with Stack(lab, note=notes.append, sleep=at_once) as stack:
        before = stack.addresses["memoryd"]
        os.kill(before.pid, signal.SIGKILL)

        async def back() -> bool:
            return stack.restarted == 1

        await until(back)
        after = stack.addresses["memoryd"]
        assert (after.grpc, after.http) == (before.grpc, before.http)
        assert after.pid != before.pid
        assert read_addresses(lab.state / "addresses.json")["memoryd"] == after

        (lab.state / "addresses.json").unlink()
        (lab.state / "addresses.json").mkdir()  # cannot be replaced, as on a full disk
        for restarts in (2, 3):
            os.kill(stack.addresses["memoryd"].pid, signal.SIGKILL)

            async def again(wanted: int = restarts) -> bool:
                return stack.restarted == wanted

            await until(again)
    assert sum("addresses.json could not be written" in note for note in notes) == 2
    assert notes[0].startswith("memoryd ended with code -9")


@pytest.mark.long
async def test_one_that_cannot_start_stops_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = write_module(tmp_path, "refusing", "import sys; sys.stderr.write('error: bad\\n'); sys.exit(2)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lab = options(tmp_path)
    wrong = LaunchOptions(lab.lab, lab.data, modules=dict(lab.modules) | {"agentd": module})
    with pytest.raises(ConfigurationError, match="agentd: bad"):
        await Stack(wrong, note=print).__aenter__()
    mine = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    assert [p for p in mine if DOUBLE in p.cmdline()] == []


def test_the_lock_has_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "launch.lock"
    with LaunchLock(path) as first, LaunchLock(path) as second:
        assert first.try_acquire()
        assert first.try_acquire(), "asking twice is harmless"
        assert not second.try_acquire()
        assert second.owner() == str(os.getpid())
    with LaunchLock(path) as third:
        assert third.try_acquire()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"agentd": 3}', '{"agentd": {"pid": "x"}}'])
def test_a_damaged_address_file_is_no_address(tmp_path: Path, text: str) -> None:
    path = tmp_path / "addresses.json"
    path.write_text(text)
    assert read_addresses(path) == {}


def test_addresses_are_written_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    wanted = {"agentd": DaemonAddress(1, "127.0.0.1:2", "127.0.0.1:3")}
    write_addresses(path, wanted)
    assert read_addresses(path) == wanted
    assert [entry.name for entry in tmp_path.iterdir()] == ["addresses.json"]
    write_addresses(path, {})
    assert read_addresses(path) == {}


async def test_up_on_a_taken_default_port_says_what_can_be_done(tmp_path: Path) -> None:
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # held by somebody else, it is taken as well
            taken.bind(("127.0.0.1", 9090))
            taken.listen()
        result = await run_command("up", "--lab", str(tmp_path / "lab"), "--executor", "scripted")
    assert result.code == 2
    assert "the port is taken: `up` takes the default ports, so stop what holds it" in result.err
    assert "--http-listen: cannot bind" in result.err
