"""`python -m trainer train`: one run in the foreground, to its score or to a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trainer.presets import PRESETS
from trainer.train_verb import shared_out

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def command(tiny_data: Path) -> list[str]:
    verb = [sys.executable, "-m", "trainer", "train", "--preset", "tiny", "--data", str(tiny_data)]
    return [*verb, "--threads", "1", "--seed", "5"]


@pytest.fixture
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A run that has begun to train and would go on for an hour."""
    process = subprocess.Popen(
        [*command, "--time-budget", "3600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,
    )
    with process:
        assert process.stderr is not None
        assert any(line.startswith("step") for line in process.stderr)
        yield process
        process.kill()


def _hear_interrupts() -> None:
    """What a shell starts in the background ignores them, and so would this test's process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.long
def test_a_run_ends_with_its_score_and_keeps_what_was_asked_for(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*command, "--json", "--out", str(tmp_path / "kept")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert 0.5 < result["val_bpb"] < 10
    assert (result["seed"], result["seed_source"]) == (5, "user")
    assert (result["failure_reason"], result["tokens"]) == (None, 8192)
    assert list((tmp_path / "kept").rglob("*.safetensors"))


@posix
@pytest.mark.long
@pytest.mark.parametrize(
    ("sent", "code", "said"), [(signal.SIGTERM, 143, "ended by SIGTERM"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_ends_every_process_and_is_said_in_one_line(
    started: subprocess.Popen[str], sent: signal.Signals, code: int, said: str
) -> None:
    family = psutil.Process(started.pid).children(recursive=True)
    assert len(family) > 1
    started.send_signal(sent)
    _, errors = started.communicate(timeout=30)
    assert started.returncode == code, errors
    assert errors.splitlines()[-1] == f"{said}; every process of the run is gone"
    assert "Traceback" not in errors
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("name", "devices", "rows"), [("h100", 1, 32), ("h100", 2, 16), ("seed-h100", 8, 16)]
)
def test_a_step_of_a_preset_is_shared_out(name: str, devices: int, rows: int) -> None:
    shared = shared_out(PRESETS[name], devices).hyperparameters
    assert shared["DEVICE_BATCH_SIZE"] == rows
    assert shared["TOTAL_BATCH_SIZE"] == PRESETS[name].hyperparameters["TOTAL_BATCH_SIZE"]


def test_more_devices_than_there_are_say_so(command: list[str]) -> None:
    done = subprocess.run([*command, "--devices", "65"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "device_count 65 is more than this trainer has" in done.stderr
