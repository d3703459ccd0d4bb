"""CUDA memory shared by a descriptor: another process writes it, and a candidate answers into it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.harness.test_serve import write_candidate
from trainer.evaluation.candidate_server import CUDA_IPC, CandidateServer
from trainer.evaluation.device_buffer import DeviceBuffer
from trainer.evaluation.job import EvaluationJob

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CHILD = """
import sys, torch
from trainer.harness.shared_device_memory import open_shared_floats
shared = open_shared_floats(int(sys.argv[1]), int(sys.argv[2]))
view = torch.as_tensor(shared, device="cuda")
view.copy_(torch.arange(len(view), dtype=torch.float32, device="cuda"))
torch.cuda.synchronize()
"""


def test_another_process_writes_and_this_one_reads() -> None:
    count = 3_000_000  # more than one unit of the driver's
    buffer = DeviceBuffer(count)
    buffer.clear(count)
    assert bool(torch.isnan(buffer.read((count,))).all())
    descriptor = buffer.descriptor
    subprocess.run(
        [sys.executable, "-c", CHILD, str(descriptor), str(count)],
        pass_fds=[descriptor],
        check=True,
        timeout=120,
    )
    buffer.close_descriptor()
    found = buffer.read((3, count // 3))
    assert torch.equal(found.view(-1), torch.arange(count, dtype=torch.float32, device="cuda"))


@pytest.mark.parametrize("tier", ["NONE", "LANDLOCK", "BUBBLEWRAP"])
def test_a_candidate_answers_into_memory_of_the_evaluator(tmp_path: Path, tier: str) -> None:
    from trainer.sandbox.tiers import choose_tier

    if tier not in [one.value for one in choose_tier("auto").usable]:
        pytest.skip(f"the tier {tier} is not usable here")
    table = write_candidate(tmp_path)
    job = EvaluationJob(
        str(tmp_path / "train.py"), str(tmp_path / "out"), "", str(tmp_path / "work"), tier, "cuda", gpus=(0,)
    )
    buffer = DeviceBuffer(job.batch_rows * 8 * 512)
    with CandidateServer(job, "first", 8, 512, buffer) as server:
        assert server.wait_ready() == 512
        assert (server.logit_path, server.path_reason) == (CUDA_IPC, "")
        for rows in (2, 16):
            tokens = np.random.default_rng(rows).integers(0, 512, size=(rows, 8)).astype(np.int64)
            found = server.logits(tokens)
            assert found.is_cuda
            assert np.array_equal(found.cpu().numpy(), table[tokens])
