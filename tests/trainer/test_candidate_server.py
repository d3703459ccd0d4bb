"""What a scored process answers to several requests in turn is what it answers to each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.harness.test_serve import write_candidate
from trainer.evaluation.candidate_server import CandidateServer
from trainer.evaluation.job import EvaluationJob
from trainer.harness.logit_channel import CandidateFailedError

REQUESTS = [np.arange(count, dtype=np.int64).reshape(shape) for count, shape in ((16, (2, 8)), (3, (1, 3)))]


def test_answers_in_turn_are_those_to_each_request(tmp_path: Path) -> None:
    table = write_candidate(tmp_path, "self.table(tokens + 512 * (tokens[0, 0] == 100))")
    train_py, checkpoint, work = (str(tmp_path / name) for name in ("train.py", "out", "work"))
    job = EvaluationJob(train_py, checkpoint, "", work, batch_rows=2, threads=1)
    with CandidateServer(job, "first", 8, 512) as server:
        server.wait_ready()
        requests = [*REQUESTS, REQUESTS[0] + 7, REQUESTS[1]]
        answers = list(server.logits_in_turn(requests))
        assert [answer.shape[:2] for answer in answers] == [request.shape for request in requests]
        for request, answer in zip(requests, answers, strict=True):
            assert np.array_equal(answer, table[request])
        assert np.array_equal(server.logits(REQUESTS[0]), table[REQUESTS[0]])
        assert list(server.logits_in_turn([])) == []
        in_turn = server.logits_in_turn([REQUESTS[0], REQUESTS[0] + 100, REQUESTS[0]])
        assert np.array_equal(next(in_turn), table[REQUESTS[0]])
        with pytest.raises(CandidateFailedError, match="while it was scored"):
            next(in_turn)
