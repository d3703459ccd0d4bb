"""`run` over the real daemons, with invented scores: interrupted, resumed, looked back at."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from agent.launch.addresses import read_addresses
from tests.agent.cli.command import run_command, start_command

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def git(lab: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(lab), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


async def test_a_session_is_interrupted_resumed_and_finished(tmp_path: Path) -> None:
    lab = tmp_path / "my lab"
    flags = (
        "--lab", str(lab), "--data", str(tmp_path / "its data"), "--executor", "scripted",
        "--provider", "search", "--max-experiments", "2",
    )  # fmt: skip
    first = await start_command("run", *flags)
    assert first.stdout is not None
    async with asyncio.timeout(120):
        while b"#0 run 2" not in (line := await first.stdout.readline()):
            assert line
    pids = [entry.pid for entry in read_addresses(lab / ".autoresearch" / "addresses.json").values()]
    assert len(pids) == 4
    family = [child for pid in pids for child in psutil.Process(pid).children(recursive=True)]
    began = time.monotonic()
    first.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(first.communicate(), 60)
    print(f"Ctrl-C to the end: {time.monotonic() - began:.1f} s")
    assert first.returncode == 130, err
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not any(child.is_running() for child in family)
    assert git(lab, "status", "--porcelain") == ""
    assert git(lab, "branch", "--show-current") == "autoresearch/lab"

    second = await run_command("run", *flags, "--json", timeout=200)
    assert second.code == 0, second.err
    summary = json.loads(second.lines[-1])
    assert [proposal["number"] for proposal in summary["proposals"]] == [0, 1, 2]
    experiments = [run["experiment_id"] for proposal in summary["proposals"] for run in proposal["runs"]]
    assert len(experiments) == len(set(experiments)), "no experiment ran twice"
    table = (lab / "results.tsv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 1 + 3
    assert git(lab, "status", "--porcelain") == ""
    keeps = sum(proposal["verdict"] in ("keep", "equivalent") for proposal in summary["proposals"])
    assert int(git(lab, "rev-list", "--count", "autoresearch/lab")) == 1 + keeps

    history = await run_command("history", "--lab", str(lab), "--json")
    assert json.loads(history.out)["proposals"] == summary["proposals"]
    # What `history` prints to be copied works in a shell, in any folder and with the same data.
    shown = await run_command("history", "--lab", str(lab), cwd=tmp_path)
    copied = next(line for line in shown.lines if line.startswith("Go on: ")).removeprefix("Go on: ")
    done = subprocess.run(
        ["bash", "-c", f"{copied} --max-experiments 2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd="/",
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 2 experiments are done" in done.stdout
