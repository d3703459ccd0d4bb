"""The main job: one command on a machine without key, GPU, dongle or network, then the same command again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

COMMAND = [sys.executable, "-P", "-m", "agent.cli", "run", "--provider", "search", "--preset", "cpu"]


def run_lab(folder: Path, *options: str, timeout: float = 600.0) -> subprocess.CompletedProcess[str]:
    arguments = [*COMMAND, "--lab", str(folder / "lab"), "--data", str(folder / "data"), *options]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, check=False)


def rows(folder: Path) -> list[list[str]]:
    text = (folder / "lab" / "results.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]


def git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(folder / "lab"), *arguments], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def processes_of(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in argument for argument in process.info["cmdline"] or []):
            found.append(process)
    return found


@pytest.fixture(autouse=True)
def _leave_nothing_running(tmp_path: Path) -> object:
    yield
    for process in processes_of(tmp_path):
        process.kill()


def check_tree(folder: Path) -> None:
    """The work tree is clean, and every kept row is a commit on the branch."""
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "rev-parse", "--abbrev-ref", "HEAD") == "autoresearch/lab"
    commits = git(folder, "log", "--format=%H").splitlines()
    kept = [row for row in rows(folder)[1:] if row[3] == "keep"]
    assert all(any(commit.startswith(row[0]) for commit in commits) for row in kept)
    assert len(commits) == len(kept)  # the baseline's row is the template's commit


def test_scripted_scores_two_sessions_resume_and_repeat_nothing(tmp_path: Path) -> None:
    first = run_lab(tmp_path, "--executor", "scripted", "--max-experiments", "3")
    assert first.returncode == 0, first.stderr
    assert rows(tmp_path)[0] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert len(rows(tmp_path)) == 1 + 1 + 3
    check_tree(tmp_path)
    again = run_lab(tmp_path, "--executor", "scripted", "--max-experiments", "3")
    assert again.returncode == 0, again.stderr
    assert len(rows(tmp_path)) == 5
    more = run_lab(tmp_path, "--executor", "scripted", "--max-experiments", "5", "--json")
    assert more.returncode == 0, more.stderr
    assert len(rows(tmp_path)) == 1 + 1 + 5
    summary = json.loads(more.stdout.strip().splitlines()[-1])
    assert summary
    assert len({row[4] for row in rows(tmp_path)[1:]}) == 6
    check_tree(tmp_path)
    assert processes_of(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_stops_in_order_and_the_next_run_goes_on(tmp_path: Path) -> None:
    arguments = [
        *COMMAND,
        "--executor",
        "scripted",
        "--lab",
        str(tmp_path / "lab"),
        "--data",
        str(tmp_path / "data"),
    ]
    arguments += ["--max-experiments", "40"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (tmp_path / "lab/results.tsv").exists():
            time.sleep(0.2)
        time.sleep(2)
        os.kill(running.pid, signal.SIGINT)
        asked = time.monotonic()
        output, _ = running.communicate(timeout=30)
        took = time.monotonic() - asked
    assert running.returncode == 130, output
    assert took < 15  # a hang, not a speed: the promise of five seconds is measured on an idle machine
    assert processes_of(tmp_path) == []
    check_tree(tmp_path)
    done = len(rows(tmp_path)) - 2
    assert 0 <= done < 40
    after = run_lab(tmp_path, "--executor", "scripted", "--max-experiments", str(done + 1))
    assert after.returncode == 0, after.stderr
    assert len(rows(tmp_path)) - 2 == done + 1


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killing_the_command_ends_its_daemons_and_loses_nothing(tmp_path: Path) -> None:
    arguments = [
        *COMMAND,
        "--executor",
        "scripted",
        "--lab",
        str(tmp_path / "lab"),
        "--data",
        str(tmp_path / "data"),
    ]
    with subprocess.Popen([*arguments, "--max-experiments", "40"], stdout=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (tmp_path / "lab/results.tsv").exists():
            time.sleep(0.2)
        running.kill()
    deadline = time.monotonic() + 30
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(tmp_path) == []
    before = rows(tmp_path)
    after = run_lab(tmp_path, "--executor", "scripted", "--max-experiments", str(len(before) - 1))
    assert after.returncode == 0, after.stderr
    assert rows(tmp_path)[: len(before)] == before
    check_tree(tmp_path)


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "thesis.tex").write_text("years of work")
    refused = run_lab(tmp_path, "--executor", "scripted", "--max-experiments", "1")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert str(tmp_path / "lab") in refused.stderr
    assert [path.name for path in (tmp_path / "lab").iterdir() if path.name != ".autoresearch"] == [
        "thesis.tex"
    ]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_real_training_from_nothing_to_a_judged_proposal(tmp_path: Path) -> None:
    """Data from the interpreter's own files, real training in the sandbox, the sealed evaluator's score."""
    # A plainly worse proposal takes few pairs; how many one of the search would take, chance decides.
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"description": "hardly learns", "changes": {"MATRIX_LR": 0.0001}}]))
    flags = ("--provider", "scripted", "--script", str(script))
    run = run_lab(tmp_path, "--preset", "tiny", "--max-experiments", "1", *flags, timeout=850)
    assert run.returncode == 0, run.stderr + run.stdout
    table = rows(tmp_path)
    assert len(table) == 3
    assert table[2][3] == "discard"
    baseline = float(table[1][1])
    assert 1.0 < baseline < 6.0
    check_tree(tmp_path)
    best = tmp_path / "lab" / "best"
    assert (best / "model.safetensors").stat().st_size > 100_000
    expected = {"checkpoint.json", "tokenizer.json", "ranks.tiktoken", "train.py"}
    assert expected <= {path.name for path in best.iterdir()}
    sample = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "agent.cli",
            "sample",
            *("--lab", str(tmp_path / "lab"), "--data", str(tmp_path / "data")),
            "--max-tokens",
            "20",
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert sample.returncode == 0, sample.stderr
    assert sample.stdout.strip()
