"""Bits per byte computed in this process from the candidate's own model: the baseline of comparison.

Trusts the candidate: no audits, no isolation. The sealed evaluator is judged against its value and cost.
`python -m trainer.evaluation_plain TRAIN_PY CHECKPOINT_DIR DATASET_DIR [--json]`.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainer.data.dataset import open_dataset
from trainer.data.tokenizer import load_token_bytes

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PlainScore:
    """val_bpb counts exact bytes of targets, val_bpb_legacy the ancestors' decode-based bytes."""

    val_bpb: float
    val_bpb_legacy: float
    nats: float
    tokens: int
    seconds: float


def bits_per_byte(nats: float, byte_count: int) -> float:
    """Nats over bytes as bits per byte; NaN when there are no bytes."""
    return nats / (math.log(2) * byte_count) if byte_count else math.nan


def score_model(
    model: "torch.nn.Module",
    rows: npt.NDArray[np.uint16],
    exact: npt.NDArray[np.int32],
    legacy: npt.NDArray[np.int32],
    device: "torch.device",
    batch_rows: int = 16,
) -> PlainScore:
    """Scores rows, uint16 [N, T + 1]: cross-entropy in float32, sums in float64.

    Targets of zero bytes (specials) are left out of both sums of the exact score; the legacy score
    uses the same targets with the ancestors' byte counts.
    """
    import torch
    import torch.nn.functional as F

    started = time.monotonic()
    nats = torch.zeros((), dtype=torch.float64)
    byte_count = legacy_count = tokens = 0
    with torch.inference_mode():
        for first in range(0, len(rows), batch_rows):
            batch = rows[first : first + batch_rows].astype(np.int64)
            targets = batch[:, 1:]
            logits = model(torch.from_numpy(batch[:, :-1]).to(device)).float()
            flat = torch.from_numpy(targets.reshape(-1)).to(device)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), flat, reduction="none")
            counted = torch.from_numpy(exact[targets].reshape(-1) > 0)
            nats += (loss.cpu().double() * counted).sum()
            byte_count += int(exact[targets].sum())
            legacy_count += int(legacy[targets].sum())
            tokens += targets.size
    total = float(nats)
    return PlainScore(
        bits_per_byte(total, byte_count),
        bits_per_byte(total, legacy_count),
        total,
        tokens,
        time.monotonic() - started,
    )


def evaluate_plain(
    train_py: Path,
    checkpoint: Path,
    dataset_folder: Path,
    device_name: str = "auto",
    threads: int = 0,
    *,
    batch_rows: int = 16,
    validation_tokens: int = 0,
) -> PlainScore:
    """Loads the candidate here and scores it on the data set's validation rows, at most validation_tokens
    of them if that is not 0."""
    from trainer.harness.serve import load_model

    dataset = open_dataset(dataset_folder)
    model, device, _ = load_model(train_py, checkpoint, device_name, threads)
    row_length = dataset.manifest.context_length + 1
    rows = np.fromfile(dataset.validation_rows, dtype=np.uint16).reshape(-1, row_length)
    if validation_tokens:
        rows = rows[: max(1, validation_tokens // (row_length - 1))]
    exact, legacy = load_token_bytes(dataset.tokenizer_folder)
    return score_model(model, rows, exact, legacy, device, batch_rows)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer.evaluation_plain")
    parser.add_argument("train_py", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batch-rows", type=int, default=16)
    parser.add_argument("--validation-tokens", type=int, default=0, help="at most; 0: all there are")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    from services.errors import ServiceError
    from trainer.harness.failures import ContractError

    try:
        score = evaluate_plain(
            options.train_py,
            options.checkpoint,
            options.dataset,
            options.device,
            options.threads,
            batch_rows=options.batch_rows,
            validation_tokens=options.validation_tokens,
        )
    except (ServiceError, ContractError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(asdict(score)) if options.json else f"val_bpb: {score.val_bpb:.6f}")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
