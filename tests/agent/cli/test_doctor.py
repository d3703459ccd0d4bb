"""doctor names the cause of each broken set-up; every set-up here is really broken, nothing is pretended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from autoresearch.trainer.v1 import trainer_pb2

from agent.doctor import device as doctor_device
from agent.doctor import lab as doctor_lab
from agent.doctor import machine as doctor_machine
from agent.doctor import trainer as doctor_trainer
from agent.doctor.examination import Check, Finding, Level, Surroundings
from agent.lab.lock import LabLock
from agent.lab.workspace import make_lab
from tests.agent.cli.command import run_command


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    (tmp_path / "dev").mkdir()
    return Surroundings(
        lab=tmp_path / "lab",
        data=tmp_path / "data",
        environment=dict(os.environ),
        now=time.time,
        devices=tmp_path / "dev",
        usb_devices=tmp_path / "usb",
        modules=tmp_path / "modules",
        needed_bytes=1,
        comfortable_bytes=2,
    )


def errors_of(check: Check, around: Surroundings) -> list[Finding]:
    return [finding for finding in check(around) if finding.level is Level.ERROR]


def only(check: Check, around: Surroundings, level: Level = Level.ERROR) -> Finding:
    found = [finding for finding in check(around) if finding.level is level]
    assert len(found) == 1, found
    assert found[0].remedy
    return found[0]


def write_tool(folder: Path, name: str, text: str) -> str:
    folder.mkdir(exist_ok=True)
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)
    return str(folder)


def test_git_is_missing(around: Surroundings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    finding = only(doctor_machine.check_git, replace(around, environment={"PATH": str(tmp_path / "empty")}))
    assert "git is not on PATH" in finding.message


def test_git_is_too_old(around: Surroundings, tmp_path: Path) -> None:
    path = write_tool(tmp_path / "bin", "git", "echo git version 2.11.0")
    finding = only(doctor_machine.check_git, replace(around, environment={"PATH": path}))
    assert "2.11.0 is too old" in finding.message


def test_git_is_broken(around: Surroundings, tmp_path: Path) -> None:
    path = write_tool(tmp_path / "bin", "git", "exit 3")
    assert (
        "does not work" in only(doctor_machine.check_git, replace(around, environment={"PATH": path})).message
    )


def test_a_gpu_beside_a_cpu_build_of_torch_is_no_silent_cpu_run(around: Surroundings) -> None:
    (around.devices / "nvidia0").touch()
    finding = only(doctor_device.check_torch, around)
    assert "nvidia0 exists, but torch" in finding.message
    assert "CPU build" in finding.message


def test_torch_cannot_be_imported(around: Surroundings, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open')")
    environment = dict(around.environment) | {"PYTHONPATH": str(tmp_path / "broken")}
    finding = only(doctor_device.check_torch, replace(around, environment=environment))
    assert "libcudart.so.13" in finding.message


def test_a_container_without_its_gpu(around: Surroundings) -> None:
    environment = dict(around.environment) | {"NVIDIA_VISIBLE_DEVICES": "all"}
    finding = only(doctor_device.check_container, replace(around, environment=environment))
    assert "nvidia-container-toolkit" in finding.remedy


def test_nvidia_smi_shows_a_gpu(around: Surroundings, tmp_path: Path) -> None:
    path = write_tool(tmp_path / "bin", "nvidia-smi", "echo 'GPU 0: NVIDIA H100'")
    environment = dict(around.environment) | {"PATH": f"{path}:{os.environ['PATH']}"}
    assert (
        doctor_device.visible_gpu(replace(around, environment=environment))
        == "nvidia-smi shows GPU 0: NVIDIA H100"
    )
    write_tool(tmp_path / "bin", "nvidia-smi", "echo 'no devices'; exit 9")
    assert doctor_device.visible_gpu(replace(around, environment=environment)) == ""


def plug_dongle(around: Surroundings) -> Path:
    entry = around.usb_devices / "1-1"
    entry.mkdir(parents=True)
    for name, text in (("idVendor", "0bda"), ("idProduct", "2838"), ("busnum", "1"), ("devnum", "7")):
        (entry / name).write_text(f"{text}\n")
    node = around.devices / "bus" / "usb" / "001" / "007"
    node.parent.mkdir(parents=True)
    node.touch()
    return node


def test_the_television_driver_holds_the_dongle(around: Surroundings) -> None:
    plug_dongle(around)
    around.modules.write_text("dvb_usb_rtl28xxu 36864 0 - Live 0x0\n")
    assert "blacklist" in only(doctor_device.check_dongle, around).remedy


def test_the_dongle_cannot_be_opened(around: Surroundings) -> None:
    plug_dongle(around).unlink()
    assert "cannot be opened" in only(doctor_device.check_dongle, around).message


def test_a_good_dongle_and_none_are_both_fine(around: Surroundings) -> None:
    assert doctor_device.check_dongle(around)[0].level is Level.OK
    plug_dongle(around)
    found = doctor_device.check_dongle(around)
    assert [(finding.level, "1-1" in finding.message) for finding in found] == [(Level.OK, True)]


def test_the_disk_is_too_full(around: Surroundings) -> None:
    full = replace(around, needed_bytes=1 << 60, comfortable_bytes=1 << 61)
    found = errors_of(doctor_machine.check_folders, full)
    assert {finding.check for finding in found} == {"disk"}
    assert "--lab" in found[0].message
    nearly = replace(around, comfortable_bytes=1 << 60)
    assert any(finding.level is Level.WARNING for finding in doctor_machine.check_folders(nearly))


def test_the_lab_cannot_be_written(around: Surroundings, tmp_path: Path) -> None:
    """A file where a folder must be: it refuses root as well, which permissions do not."""
    (tmp_path / "data").write_text("not a folder")
    found = errors_of(doctor_machine.check_folders, around)
    assert len(found) == 1
    assert "--data" in found[0].message


def test_the_clock_is_not_set(around: Surroundings) -> None:
    assert "the clock says 1970" in only(doctor_machine.check_clock, replace(around, now=lambda: 1e6)).message


def test_the_clock_went_back(around: Surroundings) -> None:
    state = around.lab / ".autoresearch"
    state.mkdir(parents=True)
    (state / "ledger.db").touch()
    behind = replace(around, now=lambda: time.time() - 3600)
    assert "the clock went back" in only(doctor_machine.check_clock, behind).message


def test_a_default_port_is_taken(around: Surroundings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finding = only(
            doctor_machine.check_ports, replace(around, ports={"agentd": (port, 0)}), Level.WARNING
        )
    assert f"port {port} of agentd is taken" in finding.message


def test_the_lab_is_not_ours(around: Surroundings) -> None:
    around.lab.mkdir()
    (around.lab / "thesis.tex").touch()
    assert only(doctor_lab.check_lab, around).check == "lab"
    (around.lab / "thesis.tex").unlink()
    subprocess.run(["git", "init", "-q", str(around.lab)], check=True)
    (around.lab / "code.py").touch()
    assert str(around.lab) in only(doctor_lab.check_lab, around).message


def test_the_lab_has_changes_of_its_owner(around: Surroundings) -> None:
    make_lab(around.lab, "lab", {"train.py": "DEPTH = 4\n"}, "cpu").close()
    assert [finding.level for finding in doctor_lab.check_lab(around)] == [Level.OK]
    (around.lab / "train.py").write_text("DEPTH = 5\n")
    finding = only(doctor_lab.check_lab, around)
    assert "train.py" in finding.message
    assert "commit" in finding.remedy


def test_the_ledger_is_damaged(around: Surroundings) -> None:
    state = around.lab / ".autoresearch"
    state.mkdir(parents=True)
    (state / "ledger.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    assert "is damaged" in only(doctor_lab.check_ledger, around).message
    (state / "ledger.db").write_bytes(b"")
    assert [finding.level for finding in doctor_lab.check_ledger(around)] == [Level.OK], "a lab is being made"
    make_lab(around.lab, "lab", {"train.py": "DEPTH = 4\n"}, "cpu").close()
    assert "is damaged: it is empty" in only(doctor_lab.check_ledger, around).message


def test_somebody_works_in_the_lab(around: Surroundings) -> None:
    with LabLock(around.lab / ".autoresearch", {"grpc": "127.0.0.1:5"}):
        finding = only(doctor_lab.check_lock, around, Level.WARNING)
    assert f"process {os.getpid()}" in finding.message
    assert "127.0.0.1:5" in finding.message
    assert doctor_lab.check_lock(around) == []


def make_data(around: Surroundings) -> Path:
    folder = around.data / "python-2048"
    (folder / "train").mkdir(parents=True)
    shard = folder / "train" / "rows_00000.bin"
    shard.write_bytes(b"rows")
    digest = "2e91cec4a7f0f42fa1f7c4d8a0a4a4dc4e9a3d5ec7f6b3a6f4f3c9b5d9d8e7f6"
    (folder / "manifest.json").write_text(json.dumps({"files": {"train/rows_00000.bin": digest}}))
    return shard


def test_a_shard_is_missing(around: Surroundings) -> None:
    shard = make_data(around)
    assert errors_of(doctor_lab.check_data, around) == []
    shard.unlink()
    assert "lacks train/rows_00000.bin" in only(doctor_lab.check_data, around).message


def test_a_shard_was_changed(around: Surroundings) -> None:
    make_data(around)
    finding = only(doctor_lab.check_data, replace(around, deep=True))
    assert "has a changed train/rows_00000.bin" in finding.message


def test_a_manifest_is_damaged(around: Surroundings) -> None:
    make_data(around)
    (around.data / "python-2048" / "manifest.json").write_text("{")
    assert "manifest.json cannot be read" in only(doctor_lab.check_data, around).message


def test_the_token_is_missing_or_open_to_others(around: Surroundings, tmp_path: Path) -> None:
    token = tmp_path / "token"
    environment = {"AUTORESEARCH_TOKEN_FILE": str(token)}
    assert "does not exist" in only(doctor_lab.check_keys, replace(around, environment=environment)).message
    token.write_text("x" * 32)
    token.chmod(0o644)
    opened = only(doctor_lab.check_keys, replace(around, environment=environment), Level.WARNING)
    assert "can be read by others" in opened.message


def test_keys_are_named_and_never_shown(around: Surroundings) -> None:
    found = doctor_lab.check_keys(replace(around, environment={"ANTHROPIC_API_KEY": "sk-canary"}))
    assert "ANTHROPIC_API_KEY" in found[-1].message
    assert "canary" not in str(found)


def test_the_trainer_has_no_sandbox(around: Surroundings) -> None:
    answer = trainer_pb2.GetCapabilitiesResponse(
        sandbox_tier=trainer_pb2.SANDBOX_TIER_NONE, warnings=["/dev/shm has 64 MiB"], default_preset="cpu"
    )
    found = doctor_trainer.describe(answer)
    assert [finding.level for finding in found] == [Level.OK, Level.WARNING, Level.WARNING]
    assert "no sandbox works here" in found[1].message
    assert found[2].message == "/dev/shm has 64 MiB"


@pytest.mark.long
async def test_a_whole_and_a_broken_set_up_from_the_command_line(tmp_path: Path) -> None:
    flags = ("--lab", str(tmp_path / "lab"), "--data", str(tmp_path / "data"), "--json")
    whole = await run_command("doctor", *flags, timeout=120)
    findings = json.loads(whole.out)["findings"]
    assert whole.code == 0, [finding for finding in findings if finding["level"] == "error"]
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "photo.jpg").touch()
    broken = await run_command("doctor", *flags[:-1], timeout=120)
    assert broken.code == 1
    lines = [line for line in broken.lines if line.startswith("error")]
    assert len(lines) == 1
    assert "lab" in lines[0]
    assert " -> " in lines[0]
    assert any(finding["check"] == "trainer" and "sandbox" in finding["message"] for finding in findings)
