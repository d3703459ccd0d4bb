"""The candidate's side of evaluation in its own process, over shared memory and over pipes."""

import mmap
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.harness.test_launch import MODEL
from trainer.harness.checkpoint import save_checkpoint
from trainer.harness.failures import ContractError
from trainer.harness.logit_channel import CandidateFailedError, LogitClient, logits_offset, memory_bytes
from trainer.harness.serve import compute_logits, load_model


def write_candidate(tmp_path: Path, forward: str = "self.table(tokens)") -> np.ndarray:
    """A candidate with random weights; returns its logit table [V, V]."""
    text = MODEL.replace("BODY", "pass").replace("return self.table(tokens)", f"return {forward}")
    (tmp_path / "train.py").write_text(text + "\nprint('hello from import')\n")
    model = torch.nn.Module()
    model.table = torch.nn.Embedding(512, 512)
    save_checkpoint(tmp_path / "out", model, {"vocab_size": 512})
    return model.table.weight.detach().numpy()


def start(tmp_path: Path, memory_fd: int, size: int) -> tuple[subprocess.Popen[bytes], int, int]:
    command = [
        sys.executable,
        "-m",
        "trainer.harness.serve",
        str(tmp_path / "train.py"),
        str(tmp_path / "out"),
    ]
    command += ["--memory-fd", str(memory_fd), "--memory-bytes", str(size), "--threads", "1"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[memory_fd] if memory_fd >= 0 else []
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return process, process.stdin.fileno(), process.stdout.fileno()


@pytest.mark.parametrize("shared", [True, False])
def test_logits_of_the_stored_weights_come_back(tmp_path: Path, shared: bool) -> None:
    if shared and not hasattr(os, "memfd_create"):
        pytest.skip("no memfd on this platform")
    table = write_candidate(tmp_path)
    size = memory_bytes(2, 8, 512)
    descriptor, memory = -1, None
    if shared:
        descriptor = os.memfd_create("logits")
        os.ftruncate(descriptor, size)
        memory = mmap.mmap(descriptor, size)
    process, request, reply = start(tmp_path, descriptor, size if shared else 0)
    client = LogitClient(request, reply, memory, logits_offset(2, 8), timeout=60)
    assert client.wait_ready() == 512
    tokens = np.arange(16, dtype=np.int32).reshape(2, 8)
    out = np.empty((2, 8, 512), dtype=np.float32)
    client.logits(tokens, out)
    client.end()
    assert np.array_equal(out, table[tokens])
    assert process.wait(timeout=30) == 0
    process.communicate()


@pytest.mark.parametrize("answer", [lambda x: x.float(), lambda x: None, lambda x: (x,)])
def test_an_answer_of_another_shape_is_a_contract_error(answer: Callable[[object], object]) -> None:
    with pytest.raises(ContractError, match="must return"):
        compute_logits(answer, np.zeros((1, 4), np.int32), torch.device("cpu"), 512)  # type: ignore[arg-type]


def test_an_exception_of_forward_is_reported_with_its_reason(tmp_path: Path) -> None:
    write_candidate(tmp_path, "self.table(tokens + 600)")
    process, request, reply = start(tmp_path, -1, 0)
    client = LogitClient(request, reply, None, 0, timeout=60)
    client.wait_ready()
    with pytest.raises(CandidateFailedError, match="index") as caught:
        client.logits(np.zeros((1, 4), np.int32), np.empty((1, 4, 512), np.float32))
    assert caught.value.reason == "RUNTIME_ERROR"
    assert process.wait(timeout=30) == 1
    process.communicate()


def test_weights_that_do_not_fit_are_a_contract_violation(tmp_path: Path) -> None:
    write_candidate(tmp_path)
    text = (tmp_path / "train.py").read_text().replace("nn.Embedding(v, v)", "nn.Embedding(v, v + 1)")
    (tmp_path / "train.py").write_text(text)
    with pytest.raises(ContractError, match="do not fit"):
        load_model(tmp_path / "train.py", tmp_path / "out", "cpu", 1)


def test_a_pickle_in_place_of_weights_is_never_loaded(tmp_path: Path) -> None:
    write_candidate(tmp_path)
    (tmp_path / "out" / "model.safetensors").write_bytes(pickle.dumps(Payload(tmp_path / "owned")))
    with pytest.raises(ContractError, match="do not fit"):
        load_model(tmp_path / "train.py", tmp_path / "out", "cpu", 1)
    assert not (tmp_path / "owned").exists()


class Payload:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.path}",))
