"""What the evaluator has to do, as JSON between the daemon and its process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from services.errors import ServiceError, is_full_disk
from trainer.experiment import Failure


@dataclass(frozen=True)
class EvaluationJob:
    """Paths are absolute. audit_seed is drawn by the daemon and unknown to the candidate. tokens_checksum and
    rows_consumed say which training rows the run claims (checked when rows_consumed is not 0). gpus are the
    candidate's, by the numbers that this process sees them under; the first is `ordinal`. share_device:
    logits stay on the GPU where that works. compile is on, off or auto, attention a backend or auto. masked
    are the files that validation text was drawn from: a model could look up there how a row goes on.
    heard: what a candidate prints while it is scored is shown, which is for its owner alone."""

    train_py: str
    checkpoint: str
    dataset: str
    work: str
    tier: str = "NONE"
    device: str = "cpu"
    gpus: tuple[int, ...] = ()
    threads: int = 0
    batch_rows: int = 16
    validation_tokens: int = 0
    audit_seed: int = 0
    answer_seconds: float = 300.0
    memory_bytes: int = 0
    processes: int = 512
    train_seed: int = 0
    tokens_checksum: int = -1
    rows_consumed: int = 0
    container: tuple[str, str] = ("", "")
    ordinal: int = 0
    share_device: bool = True
    compile: str = "auto"
    attention: str = "auto"
    masked: tuple[str, ...] = ()
    heard: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def parse_job(text: str) -> EvaluationJob:
    fields = json.loads(text)
    lists = {name: tuple(fields[name]) for name in ("gpus", "container", "masked")}
    return EvaluationJob(**{**fields, **lists})


@dataclass(frozen=True)
class Obstacle:
    """Why there is no report, though the candidate did nothing: a full disk, a damaged data set."""

    failure: Failure
    message: str

    def to_json(self) -> str:
        return json.dumps({"type": "obstacle", **asdict(self)})


def obstacle_of(error: ServiceError | OSError) -> Obstacle:
    """What the daemon is told of an error that ended the evaluator."""
    return Obstacle(Failure.DISK_FULL if is_full_disk(error) else Failure.DATA_ERROR, str(error))
