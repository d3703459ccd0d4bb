"""The files that an experiment leaves behind: hashed when it ends, read in chunks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.errors import DataLossError, InvalidArgumentError, NotFoundError
from trainer.data.dataset import hash_file
from trainer.experiment import Experiment

CHUNK_BYTES = 1 << 20
# Name that clients use -> path below the run's folder.
ARTIFACTS = {
    "log": "log.txt",
    "metrics": "metrics.jsonl",
    "train.py": "train.py",
    "model.safetensors": "checkpoint/model.safetensors",
    "checkpoint.json": "checkpoint/checkpoint.json",
    "tokenizer.json": "checkpoint/tokenizer.json",
    "ranks.tiktoken": "checkpoint/ranks.tiktoken",
}


@dataclass(frozen=True)
class Chunk:
    data: bytes
    offset: int
    total: int
    sha256: str


def hash_artifacts(folder: Path) -> dict[str, str]:
    """Name to SHA-256 of every artifact that is there."""
    return {name: hash_file(folder / path) for name, path in ARTIFACTS.items() if (folder / path).is_file()}


def add_tokenizer(checkpoint: Path, tokenizer: Path) -> None:
    """Puts the tokenizer beside the weights, so that a kept model can be used on its own. Raises OSError."""
    for name in ("tokenizer.json", "ranks.tiktoken"):
        shutil.copyfile(tokenizer / name, checkpoint / name)


def read_artifact(experiment: Experiment, folder: Path, name: str, offset: int) -> Iterator[Chunk]:
    """The bytes from an offset on. Raises NotFoundError (ARTIFACT_NOT_FOUND), InvalidArgumentError and
    DataLossError (the file was changed)."""
    known = dict(experiment.result.artifacts) if experiment.result is not None else {}
    path = folder / ARTIFACTS.get(name, "")
    if name not in known or not path.is_file():
        raise NotFoundError(
            f"experiment {experiment.experiment_id} has no artifact {name!r}; "
            f"it has {', '.join(known) or 'none'}",
            reason="ARTIFACT_NOT_FOUND",
            metadata={"experiment_id": experiment.experiment_id, "name": name},
        )
    total = path.stat().st_size
    if not 0 <= offset <= total:
        raise InvalidArgumentError(f"offset must be 0..{total}, not {offset}", field="offset")
    if offset == 0 and hash_file(path) != known[name]:
        raise DataLossError(f"artifact {name!r} was changed on disk", reason="ARTIFACT_DAMAGED")
    with path.open("rb") as stream:
        stream.seek(offset)
        while True:
            data = stream.read(CHUNK_BYTES)
            if not data and offset > 0:
                return
            yield Chunk(data, offset, total, known[name])
            offset += len(data)
            if not data:
                return
