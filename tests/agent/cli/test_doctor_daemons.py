"""doctor asks the daemons that run already, and says the next step for those that do not answer."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from autoresearch.memory.v1 import memory_pb2

from agent.doctor import daemons, device, lab, machine, trainer
from agent.doctor.examination import Finding, Level, Surroundings
from agent.launch.addresses import DaemonAddress, write_addresses
from services.addresses import Address
from tests.agent.cli.test_doctor import write_tool
from tests.memoryd.running import running

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path / "lab", tmp_path / "data", {"PATH": os.environ["PATH"]}, time.time)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that is taken and refuses every connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield str(Address("127.0.0.1", taken.getsockname()[1]))


def settings(around: Surroundings, **values: str) -> Surroundings:
    """As the container of the agent has them."""
    names = {f"AUTORESEARCH_AGENTD_{name.upper()}": value for name, value in values.items()}
    return replace(around, environment={**around.environment, **names})


def of(name: str, findings: list[Finding]) -> Finding:
    [found] = [finding for finding in findings if finding.check == name]
    return found


async def test_a_memoryd_that_runs_is_asked_with_its_token(
    around: Surroundings, tmp_path: Path, nobody: str
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    async with running(tmp_path, f"--token-file={token}") as daemon:
        given = settings(around, trainer=nobody, memory=daemon.rpc.target, memory_token_file=str(token))
        found = of("memoryd", await asyncio.to_thread(daemons.check_daemons, given))
        without = settings(around, trainer=nobody, memory=daemon.rpc.target)
        refused = of("memoryd", await asyncio.to_thread(daemons.check_daemons, without))
    assert (found.level, "durable" in found.message) == (Level.OK, True)
    assert "0 memories in sqlite:" in found.message
    assert (refused.level, refused.remedy) == (Level.ERROR, "give the token file of that daemon")


@pytest.mark.parametrize("backend", ["postgresql://db/memory", "ferricula+http://memory:8765"])
def test_a_store_that_a_power_cut_can_take_back_is_a_warning(backend: str) -> None:
    status = memory_pb2.GetStatusResponse(backend=backend, warnings=["fsync is off"])
    found = daemons.describe_memory("memoryd:50052", status)
    assert [finding.level for finding in found] == [Level.WARNING, Level.WARNING]
    assert "a power cut may take back" in found[0].message
    assert ("ferricula" in backend) == ("memoryd migrate" in found[0].remedy)
    assert ("postgresql" in backend) == ("fsync" in found[0].remedy)
    assert found[1].message == "fsync is off"


@pytest.mark.parametrize(
    ("address", "step"),
    [
        ("memoryd:50052", "`docker compose logs memoryd`"),
        ("127.0.0.1:50052", "`memoryd --listen 127.0.0.1:50052`"),
        ("store.lan:50052", "start memoryd on store.lan"),
    ],
)
def test_the_next_step_fits_where_a_daemon_should_be(around: Surroundings, address: str, step: str) -> None:
    peers = daemons.known_peers(settings(around, trainer="trainer:50053", memory=address))
    assert [peer.name for peer in peers] == ["trainerd", "memoryd"]
    assert step in peers[1].remedy


async def test_daemons_that_do_not_answer_are_named(around: Surroundings, nobody: str) -> None:
    given = settings(replace(around, answer_seconds=0.5), trainer=nobody, memory=nobody, entropy=nobody)
    checks = (daemons.check_daemons, trainer.check_trainer)
    answers = await asyncio.gather(*(asyncio.to_thread(check, given) for check in checks))
    found = [finding for findings in answers for finding in findings]
    assert [(finding.check, finding.level) for finding in found] == [
        (name, Level.ERROR) for name in ("memoryd", "entropyd", "trainerd")
    ]
    assert all(nobody in finding.message and "--listen" in finding.remedy for finding in found)


def test_a_wrong_setting_of_a_daemon_is_named_once(around: Surroundings, tmp_path: Path) -> None:
    given = settings(around, trainer="trainer", memory="")
    assert (
        "AUTORESEARCH_AGENTD_TRAINER: 'trainer' is not HOST:PORT" in daemons.check_daemons(given)[0].message
    )
    assert trainer.check_trainer(given) == []
    missing = tmp_path / "missing"
    given = settings(around, trainer="trainer:1", trainer_token_file=str(missing))
    assert f"cannot read {missing}" in daemons.check_daemons(given)[0].message


def test_a_machine_without_the_trainer_needs_neither_torch_nor_data(around: Surroundings) -> None:
    given = settings(replace(around, ports={"agentd": (1, 2)}), trainer="trainer:50053")
    checks = (device.check_torch, lab.check_data, machine.check_ports)
    assert [finding for check in checks for finding in check(given)] == []
    assert "--data" not in str(machine.check_folders(given))
    assert "[agent]" in machine.check_packages(given)[0].message


async def test_of_a_running_lab_the_daemon_that_is_away_is_named(
    around: Surroundings, tmp_path: Path, nobody: str
) -> None:
    state = around.lab / ".autoresearch"
    state.mkdir(parents=True)
    async with running(tmp_path) as daemon:
        entries = {
            "memoryd": DaemonAddress(os.getpid(), daemon.rpc.target, ""),
            "agentd": DaemonAddress(os.getpid(), nobody, ""),
            "trainerd": DaemonAddress(os.getpid(), nobody, ""),
        }
        write_addresses(state / "addresses.json", entries)
        found = await asyncio.to_thread(daemons.check_daemons, replace(around, answer_seconds=2.0))
    assert [(finding.check, finding.level) for finding in found] == [
        ("memoryd", Level.OK),
        ("agentd", Level.ERROR),
    ]
    assert "logs/agentd.log" in found[1].remedy


def test_a_lab_that_nobody_runs_asks_nobody(around: Surroundings, nobody: str) -> None:
    state = around.lab / ".autoresearch"
    state.mkdir(parents=True)
    write_addresses(state / "addresses.json", {"memoryd": DaemonAddress(2**22 + 1, nobody, "")})
    assert daemons.check_daemons(around) == []


ROWS = """\
init|exited|Exited (0) 2 hours ago
entropyd|running|Up 2 hours (healthy)
memoryd|restarting|Restarting (2) 4 seconds ago
trainer|exited|Exited (137) 3 minutes ago
agent|running|Up 2 hours (unhealthy)
relay|exited|Exited (143) 3 minutes ago
"""


def test_services_of_compose_that_crash_or_gave_up_are_named(around: Surroundings, tmp_path: Path) -> None:
    path = write_tool(tmp_path / "bin", "docker", f"cat <<'END'\n{ROWS}END")
    found = daemons.check_compose(replace(around, environment={"PATH": f"{path}:{os.environ['PATH']}"}))
    assert [finding.message.partition(":")[0] for finding in found] == ["memoryd", "trainer", "agent"]
    assert all(finding.level is Level.ERROR for finding in found)
    assert "`docker compose logs memoryd`" in found[0].remedy


@pytest.mark.parametrize(
    ("script", "levels"),
    [("echo 'agent|running|Up 2 hours (healthy)'", [Level.OK]), ("true", []), ("exit 1", [])],
    ids=["healthy", "no stack", "no engine"],
)
def test_a_stack_that_is_well_or_absent_is_no_fault(
    around: Surroundings, tmp_path: Path, script: str, levels: list[Level]
) -> None:
    path = write_tool(tmp_path / "bin", "docker", script)
    found = daemons.check_compose(replace(around, environment={"PATH": f"{path}:{os.environ['PATH']}"}))
    assert [finding.level for finding in found] == levels
