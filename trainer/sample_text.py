"""`python -m trainer.sample_text JOB REQUEST`: draws text from a checkpoint.

The candidate answers logits in its sandbox, as for the evaluator; tokens are drawn here, from the
request's seed. Prints one JSON object {"text"}.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.errors import ServiceError
from trainer.data.dataset import open_dataset
from trainer.data.tokenizer import Tokenizer, load_tokenizer
from trainer.evaluation.candidate_server import CandidateServer
from trainer.evaluation.job import EvaluationJob, parse_job
from trainer.executor import SampleRequest
from trainer.harness.logit_channel import CandidateFailedError, ChannelError


def draw_text(job: EvaluationJob, request: SampleRequest) -> str:
    """The prompt and what follows. Raises ChannelError or CandidateFailedError."""
    dataset = open_dataset(Path(job.dataset))
    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    length = dataset.manifest.context_length
    with CandidateServer(job, "sample", length, tokenizer.vocab_size) as server:
        server.wait_ready()
        tokens = [tokenizer.bos, *tokenizer.encode(request.prompt)]
        return _continue(server, tokenizer, tokens, length, request)


def _continue(
    server: CandidateServer, tokenizer: Tokenizer, tokens: list[int], length: int, request: SampleRequest
) -> str:
    random = np.random.default_rng(request.seed)
    first_special = len(tokenizer.ranks)
    for _ in range(request.max_tokens):
        window = np.array([tokens[-length:]], dtype=np.int64)
        scores = server.logits(window)[0, -1].astype(np.float64)
        scores[first_special:] = -math.inf
        tokens.append(pick(scores, request.temperature, random))
    return tokenizer.decode(tokens[1:])


def pick(scores: npt.NDArray[np.float64], temperature: float, random: np.random.Generator) -> int:
    """The likeliest token at temperature 0, otherwise one drawn from the softmax."""
    if temperature == 0:
        return int(scores.argmax())
    weights = np.exp((scores - scores.max()) / temperature)
    return int(random.choice(len(weights), p=weights / weights.sum()))


def main(arguments: list[str]) -> int:
    job_path, request_path = arguments
    request = SampleRequest(**json.loads(Path(request_path).read_text(encoding="utf-8")))
    try:
        text = draw_text(parse_job(Path(job_path).read_text(encoding="utf-8")), request)
    except (ServiceError, ChannelError, CandidateFailedError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps({"text": text}))  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
