"""One run of a comparison in its own process: trains, scores plainly, prints one JSON object."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from trainer.evaluation_plain import evaluate_plain
from trainer.harness.launch import run_candidate
from trainer.harness.run_spec import parse_run_spec

NAMES = (
    "initial_loss", "final_loss", "setup_seconds", "training_seconds", "peak_memory_bytes", "mfu",
    "tokens", "num_steps", "num_params", "device", "attention", "epoch",
)  # fmt: skip


def main(folder: Path, dataset: Path) -> int:
    """folder holds train.py and run.json; the result is the last line of stdout. Exit code 1: failed."""
    result = train_and_score(folder, dataset)
    if result is None:
        return 1
    print(json.dumps(result), flush=True)  # noqa: T201
    return 0


def train_and_score(folder: Path, dataset: Path) -> dict[str, Any] | None:
    """The result of one run in this process, or None when it failed (the reason is on stderr)."""
    began = time.monotonic()
    run = parse_run_spec((folder / "run.json").read_text(encoding="utf-8"))
    if run_candidate(folder / "train.py", run):
        return None
    trained = time.monotonic()
    score = evaluate_plain(folder / "train.py", Path(run.out_dir), dataset, run.device, run.threads)
    facts = json.loads((Path(run.out_dir) / "checkpoint.json").read_text(encoding="utf-8"))
    result: dict[str, Any] = {name: facts.get(name) for name in NAMES}
    result["tokens_per_second"] = facts["tokens"] / facts["training_seconds"]
    result["dead_seconds"] = trained - began - facts["training_seconds"]
    result["evaluation_seconds"] = score.seconds
    result["val_bpb"] = score.val_bpb
    return result


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2])))
