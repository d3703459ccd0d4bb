"""train.py at a size for tests, and ways to load and run it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from trainer.data.dataset import Dataset
from trainer.harness.candidate import load_candidate
from trainer.harness.run_spec import Budget, RunSpec
from trainer.presets import PRESETS, apply_preset

TEMPLATE = Path(__file__).parents[3] / "trainer" / "template" / "train.py"
TINY: dict[str, Any] = {
    "DEPTH": 2, "ASPECT_RATIO": 16, "HEAD_DIM": 16, "WINDOW_PATTERN": "SL",
    "DEVICE_BATCH_SIZE": 4, "TOTAL_BATCH_SIZE": 512,
}  # fmt: skip


def tiny_text(**changes: Any) -> str:
    """The template's text with tiny sizes and the given hyperparameters (64 tokens a row)."""
    return apply_preset(TEMPLATE.read_text(), replace(PRESETS["cpu"], hyperparameters={**TINY, **changes}))


def load_tiny(folder: Path, **changes: Any) -> ModuleType:
    """Imports such a text from a file in folder."""
    path = folder / "train.py"
    path.write_text(tiny_text(**changes))
    return load_candidate(path)


def run_tiny(
    folder: Path, dataset: Dataset, steps: int = 6, seed: int = 1, **changes: Any
) -> tuple[Mapping[str, Any], Path]:
    """Trains a tiny model in this process; returns its figures and the checkpoint's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    module = load_tiny(folder, **changes)
    amount = steps * module.TOTAL_BATCH_SIZE
    run = RunSpec(
        "e", seed, Budget("tokens", amount), str(dataset.train_folder), str(folder / "out"), device="cpu"
    )
    figures = module.train(run)
    json.loads((folder / "out" / "checkpoint.json").read_text())
    return figures, folder / "out"
