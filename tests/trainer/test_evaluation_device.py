"""Scoring where the logits are: the same numbers as on the host, and memory shared between two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.harness.test_serve import write_candidate
from trainer.evaluation.candidate_server import HOST, CandidateServer
from trainer.evaluation.device_buffer import DeviceBuffer, find_gpu, plan_buffers
from trainer.evaluation.job import EvaluationJob
from trainer.evaluation.scoring import difference, log_probabilities, select, token_nats
from trainer.harness.shared_device_memory import DeviceMemoryError, create_shared_floats, device_count

NEEDS_CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)]
JOB = EvaluationJob("train.py", "checkpoint", "dataset", "work", batch_rows=64)


@pytest.mark.parametrize("device", DEVICES)
def test_scores_on_a_device_are_those_of_the_host(device: str) -> None:
    random = np.random.default_rng(3)
    logits = random.normal(scale=6, size=(3, 17, 50)).astype(np.float32)
    targets = random.integers(0, 50, size=(3, 17)).astype(np.int64)
    there = torch.from_numpy(logits).to(device)
    assert np.abs(token_nats(there, targets) - token_nats(logits, targets)).max() < 2e-6
    scores, host_scores = log_probabilities(there), log_probabilities(logits)
    assert np.abs(scores.cpu().numpy() - host_scores).max() < 4e-6
    moved = scores + torch.linspace(-1e-3, 2e-3, 50, device=device)
    found = difference(scores, moved)
    assert found.largest == pytest.approx(2e-3, rel=1e-2)
    assert found.mean == pytest.approx(np.abs(np.linspace(-1e-3, 2e-3, 50)).mean(), rel=1e-2)
    assert found.bias == pytest.approx(5e-4, rel=1e-2)
    assert found.count == scores.numel()
    order, mask = np.array([2, 0, 1]), targets > 25
    for index in (order, mask):
        assert np.array_equal(select(there, index).cpu().numpy(), select(logits, index))
    moved[1, 2, 3] = torch.nan
    found = difference(scores, moved)
    assert all(value != value for value in (found.largest, found.mean, found.bias))


def test_bfloat16_logits_are_scored_in_float32() -> None:
    logits = torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(1)).bfloat16()
    targets = np.arange(10, dtype=np.int64).reshape(2, 5)
    assert np.abs(token_nats(logits, targets) - token_nats(logits.float().numpy(), targets)).max() < 2e-6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_buffer_that_cannot_be_used_leaves_the_host_path(tmp_path: Path) -> None:
    """A buffer of another kind: neither this process nor the candidate can open it."""

    class NoBuffer(DeviceBuffer):
        def __init__(self) -> None:
            self.floats, self._device, self._view = 2 * 8 * 512, 0, None
            self.descriptor = os.open(os.devnull, os.O_RDONLY)

        def _all(self) -> torch.Tensor:
            return torch.zeros(1, device="cuda")

    table = write_candidate(tmp_path)
    job = EvaluationJob(
        str(tmp_path / "train.py"), str(tmp_path / "out"), "", str(tmp_path / "work"), batch_rows=2, threads=1
    )
    buffer = NoBuffer()
    with CandidateServer(job, "first", 8, 512, buffer) as server:
        assert buffer.descriptor == -1
        assert server.wait_ready() == 512
        assert server.logit_path == HOST
        assert server.path_reason
        tokens = np.arange(16, dtype=np.int64).reshape(2, 8)
        assert np.array_equal(server.logits(tokens), table[tokens])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_driver_everything_stays_on_the_host() -> None:
    assert device_count() == 0
    assert find_gpu("auto") == ("auto", 0, ())
    assert find_gpu("cpu") == ("cpu", 0, ())
    with pytest.raises(DeviceMemoryError, match="driver"):
        create_shared_floats(10)
    assert plan_buffers(JOB, 8, 100, 2) == (64, [], "")
    rows, buffers, reason = plan_buffers(EvaluationJob("t", "c", "d", "w", gpus=(0,)), 8, 100, 2)
    assert (rows, buffers) == (16, [])
    assert "driver" in reason


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("tier", ["none", "landlock", "bubblewrap"])
def test_a_sealed_score_stays_on_the_gpu_and_equals_the_plain_one(tmp_path: Path, tier: str) -> None:
    from trainer.sandbox.tiers import choose_tier

    if tier.upper() not in [str(one).rpartition(".")[2] for one in choose_tier("auto").usable]:
        pytest.skip(f"tier {tier} is not usable here")
    command = [sys.executable, "-m", "trainer.bench.evaluator", "--preset", "tiny", "--json", "--tier", tier]
    command += ["--data", str(tmp_path), "--attention", "auto", "--steps", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    print(done.stdout)
    assert [line["logit_path"] for line in lines[:2]] == ["host", "cuda_ipc"], lines
    for line in lines:
        assert not line.get("refused")
        assert abs(line["minus_plain"]) < 1e-4
