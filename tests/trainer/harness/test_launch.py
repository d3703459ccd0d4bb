"""Launching candidates: each way to fail has its name, and a good one leaves a scoreable checkpoint."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trainer.data.dataset import Dataset
from trainer.harness.failures import ContractError, classify_failure
from trainer.harness.launch import run_candidate
from trainer.harness.run_spec import Budget, RunSpec, parse_run_spec

MODEL = """
import torch, torch.nn as nn
from pathlib import Path
from trainer.harness.checkpoint import save_checkpoint
from trainer.harness.events import EventWriter

class Bigram(nn.Module):
    def __init__(self, v):
        super().__init__()
        self.table = nn.Embedding(v, v)
    def forward(self, tokens):
        return self.table(tokens)

def build_model(config):
    return Bigram(config["vocab_size"])

def train(run):
    model = build_model({"vocab_size": 512})
    EventWriter(run.events_fd).metric(0, {"loss": 1.0})
    print("trained")
    BODY
    save_checkpoint(Path(run.out_dir), model, {"vocab_size": 512}, num_steps=1)
"""


@dataclass
class Outcome:
    code: int
    events: list[dict[str, Any]]
    stdout: str
    stderr: str

    @property
    def reason(self) -> str:
        return str(self.events[-1].get("reason", ""))


def launch_here(tmp_path: Path, dataset: Dataset, text: str, capsys: pytest.CaptureFixture[str]) -> Outcome:
    """As launch, within this process."""
    (tmp_path / "train.py").write_text(text)
    read, write = os.pipe()
    run = RunSpec(
        "e1", 1, Budget("tokens", 4096), str(dataset.train_folder), str(tmp_path / "out"), events_fd=write
    )
    code = run_candidate(tmp_path / "train.py", run)
    os.close(write)
    with os.fdopen(read) as stream:
        events = [json.loads(line) for line in stream]
    printed = capsys.readouterr()
    return Outcome(code, events, printed.out, printed.err)


def launch(tmp_path: Path, dataset: Dataset, text: str) -> Outcome:
    (tmp_path / "train.py").write_text(text)
    run = RunSpec("e1", 1, Budget("tokens", 4096), str(dataset.train_folder), str(tmp_path / "out"))
    (tmp_path / "run.json").write_text(run.to_json())
    read, write = os.pipe()
    environment = {
        **os.environ,
        "AUTORESEARCH_RUN": str(tmp_path / "run.json"),
        "AUTORESEARCH_EVENTS_FD": str(write),
    }
    command = [sys.executable, "-m", "trainer.harness.launch", str(tmp_path / "train.py")]
    done = subprocess.run(
        command, env=environment, pass_fds=[write], capture_output=True, text=True, timeout=60, check=False
    )
    os.close(write)
    with os.fdopen(read) as stream:
        events = [json.loads(line) for line in stream]
    return Outcome(done.returncode, events, done.stdout, done.stderr)


def test_a_good_candidate_leaves_a_checkpoint_and_its_events(tmp_path: Path, dataset: Dataset) -> None:
    outcome = launch(tmp_path, dataset, MODEL.replace("BODY", "pass"))
    assert outcome.code == 0
    assert outcome.stdout == "trained\n"
    description = json.loads((tmp_path / "out" / "checkpoint.json").read_text())
    assert description["config"] == {"vocab_size": 512}
    assert description["num_steps"] == 1
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def train(run:\n", "SYNTAX_ERROR"),
        ("import no_such_module\n", "IMPORT_ERROR"),
        ("def build_model(config): pass\n", "CONTRACT_VIOLATION"),
        (MODEL.replace("BODY", "return"), "CONTRACT_VIOLATION"),
        (MODEL.replace("BODY", "1 / 0"), "RUNTIME_ERROR"),
        (MODEL.replace("BODY", "torch.empty(1 << 50)"), "OUT_OF_MEMORY_HOST"),
        (MODEL.replace("BODY", "import os; raise OSError(28, os.strerror(28))"), "DISK_FULL"),
        (
            MODEL.replace(
                "BODY", "from trainer.harness.failures import NotFiniteError; raise NotFiniteError('nan')"
            ),
            "NOT_FINITE",
        ),
    ],
    ids=["syntax", "import", "no train", "no checkpoint", "runtime", "memory", "disk", "nan"],
)
def test_each_failure_has_its_reason(
    tmp_path: Path, dataset: Dataset, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = launch_here(tmp_path, dataset, text, capsys)
    assert outcome.code == 1
    assert outcome.reason == reason
    assert outcome.events[-1]["type"] == "failure"
    assert f"failure: {reason}:" in outcome.stderr
    assert ("FAIL\n" in outcome.stdout) == (reason == "NOT_FINITE")


def test_a_failing_process_ends_with_one_and_says_why(tmp_path: Path, dataset: Dataset) -> None:
    outcome = launch(tmp_path, dataset, "def train(run:\n")
    assert outcome.code == 1
    assert outcome.reason == "SYNTAX_ERROR"
    assert "failure: SYNTAX_ERROR: " in outcome.stderr


def test_errors_of_torch_are_known_by_name_and_text() -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    assert classify_failure(OutOfMemoryError("CUDA out of memory. Tried …")) == "OUT_OF_MEMORY_DEVICE"
    assert classify_failure(RuntimeError("CUDA error: an illegal memory access")) == "DEVICE_LOST"
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = ContractError("inner")
    assert classify_failure(wrapped) == "CONTRACT_VIOLATION"


def test_without_a_run_description_the_use_is_explained(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "AUTORESEARCH_RUN"}
    command = [sys.executable, "-m", "trainer.harness.launch", "x.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "AUTORESEARCH_RUN is not set" in done.stderr


@pytest.mark.parametrize("text", ["{", "{}", '{"budget": {"kind": "tokens", "amount": 1}, "moon": 1}', "[]"])
def test_a_wrong_run_description_is_a_contract_error(text: str) -> None:
    with pytest.raises(ContractError):
        parse_run_spec(text)


def test_a_run_description_survives_json() -> None:
    run = RunSpec("e", 2**64 - 1, Budget("time", 1.5), "/d", "/o", threads=2)
    assert parse_run_spec(run.to_json()) == run
