"""What only a CUDA device can show; skipped elsewhere with the reason."""

import zlib
from pathlib import Path

import pytest
import torch

from tests.trainer.template.tiny import TEMPLATE, load_tiny
from trainer.data.dataset import Dataset
from trainer.estimate import estimate, read_hyperparameters
from trainer.harness.loader import TokenLoader, open_train_rows
from trainer.harness.run_spec import Budget, RunSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SIZES = {"HEAD_DIM": 64, "ASPECT_RATIO": 64, "DEPTH": 2, "DEVICE_BATCH_SIZE": 8, "TOTAL_BATCH_SIZE": 1024}


def run(
    folder: Path, dataset: Dataset, compile_mode: str, steps: int = 30, **changes: object
) -> dict[str, float]:
    folder.mkdir(exist_ok=True)
    module = load_tiny(folder, **SIZES, **changes)
    budget = Budget("tokens", steps * module.TOTAL_BATCH_SIZE)
    spec = RunSpec(
        "e", 1, budget, str(dataset.train_folder), str(folder / "out"), "cuda", compile=compile_mode
    )
    figures: dict[str, float] = module.train(spec)
    return figures


@pytest.mark.parametrize("masked", [False, True])
def test_the_compiled_run_follows_the_eager_one(tmp_path: Path, dataset: Dataset, masked: bool) -> None:
    eager = run(tmp_path / "eager", dataset, "off", DOCUMENT_MASK=masked, NGRAM_ORDER=2)
    compiled = run(tmp_path / "compiled", dataset, "on", DOCUMENT_MASK=masked, NGRAM_ORDER=2)
    assert compiled["initial_loss"] == pytest.approx(eager["initial_loss"], abs=0.01)
    assert compiled["final_loss"] == pytest.approx(eager["final_loss"], abs=0.1)
    assert compiled["final_loss"] < compiled["initial_loss"] - 0.5
    assert compiled["attention"] == eager["attention"]


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_the_device_sees_every_row_that_was_read(dataset: Dataset, accumulation: int) -> None:
    """Work stays queued on the device while batches are fetched: none may be overwritten."""
    device = torch.device("cuda")
    loader = TokenLoader(open_train_rows(dataset.train_folder), 8, 1, device)
    busy = torch.randn(4096, 4096, device=device)
    kept = []
    for _ in range(20):
        for _ in range(accumulation):
            inputs, targets = loader.next()
            kept.append(torch.cat([inputs, targets[:, -1:]], dim=1))
        for _ in range(10):
            busy = busy @ busy / 64.0
    loader.close()
    checksum = 0
    for batch in kept:
        checksum = zlib.crc32(batch.cpu().numpy().astype("uint16").tobytes(), checksum)
    assert checksum == loader.checksum


def test_the_estimate_is_within_a_tenth_of_the_measured_peak(tmp_path: Path, dataset: Dataset) -> None:
    sizes = {
        "DEPTH": 8,
        "HEAD_DIM": 128,
        "ASPECT_RATIO": 64,
        "DEVICE_BATCH_SIZE": 1024,
        "TOTAL_BATCH_SIZE": 2**16,
    }
    folder = tmp_path / "large"
    folder.mkdir()
    module = load_tiny(folder, **sizes)
    spec = RunSpec(
        "e", 1, Budget("tokens", 4 * 2**16), str(dataset.train_folder), str(folder / "out"), "cuda"
    )
    torch.cuda.reset_peak_memory_stats()
    figures = module.train(spec)
    values = {**read_hyperparameters(TEMPLATE.read_text()), **sizes, "WINDOW_PATTERN": "SL"}
    assert estimate(values, 512, 64).peak_bytes == pytest.approx(figures["peak_memory_bytes"], rel=0.1)
