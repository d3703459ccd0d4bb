"""What has seen validation rows has no voice: neither in the log nor in the message of a failure."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.harness.test_serve import write_candidate
from trainer.evaluation.candidate_server import CandidateServer, unspoken
from trainer.evaluation.job import EvaluationJob
from trainer.evaluation.overheard import Overheard
from trainer.harness.logit_channel import CandidateFailedError

FORWARD = "print('asked', flush=True) or self.table(tokens + 512 * tokens[0, 0])"
TOKENS = np.arange(16, dtype=np.int64).reshape(2, 8)


def ask(tmp_path: Path, *, heard: bool) -> CandidateFailedError:
    """Asks twice; the second time it fails."""
    write_candidate(tmp_path, FORWARD)
    train_py, checkpoint, work = (str(tmp_path / name) for name in ("train.py", "out", "work"))
    job = EvaluationJob(train_py, checkpoint, "", work, batch_rows=2, threads=1, heard=heard)
    with CandidateServer(job, "first", 8, 512) as server:
        server.wait_ready()
        server.logits(TOKENS)
        with pytest.raises(CandidateFailedError) as caught:
            server.logits(TOKENS + 1)
        server.close()
    return caught.value


def test_it_is_heard_until_it_is_asked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    error = ask(tmp_path, heard=False)
    said = capfd.readouterr().err
    assert "hello from import" in said
    assert "asked" not in said
    assert "index" not in said + error.message
    assert error.reason == "RUNTIME_ERROR"


@pytest.mark.long
def test_its_owner_hears_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    error = ask(tmp_path, heard=True)
    assert "index" in error.message
    assert capfd.readouterr().err.count("asked") == 2


def test_a_failure_keeps_nothing_of_its_words_but_what_is_known() -> None:
    assert unspoken(CandidateFailedError("3 14 15", "3 14 15")).reason == "RUNTIME_ERROR"
    shape = unspoken(CandidateFailedError("CONTRACT_VIOLATION", "forward() must return 3 14 15"))
    assert (shape.reason, "14" in shape.message) == ("CONTRACT_VIOLATION", False)


def test_all_that_was_printed_before_arrives_and_nothing_blocks_after() -> None:
    read, write = os.pipe()
    overheard = Overheard(write)
    os.write(overheard.descriptor, b"before\n" * 1000)
    overheard.mute()
    for _ in range(50):
        os.write(overheard.descriptor, b"after\n" * 1000)
    overheard.close()
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        assert stream.read() == b"before\n" * 1000
