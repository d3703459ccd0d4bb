"""The preflight estimate against the model itself and against measured peaks."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.template.tiny import TEMPLATE, load_tiny, tiny_text
from trainer.estimate import GIB, TooLargeError, estimate, read_hyperparameters, refuse_too_large
from trainer.presets import PRESETS, apply_preset


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"NGRAM_ORDER": 3, "DEPTH": 5, "WINDOW_PATTERN": "SSL"},
        {"VALUE_EMBEDDINGS": False},
        {"RECALL": "1 2", "MEMORY": "2 4 8"},
        {"WINDOWS": False},
    ],
)
def test_parameters_and_flops_are_the_models(tmp_path: Path, changes: dict[str, Any]) -> None:
    module = load_tiny(tmp_path, **changes)
    model = module.build_model(module.model_config(512, 64, 508))
    got = estimate(read_hyperparameters(tiny_text(**changes)), 512, 64, "cpu")
    small = sum(p.numel() for n, p in model.named_parameters() if p.dim() < 2 or n.endswith("map.weight"))
    assert got.num_params == sum(p.numel() for p in model.parameters()) - small
    assert got.width == model.config["width"]
    assert got.flops_per_token == pytest.approx(model.flops_per_token(), rel=0.02)


@pytest.mark.parametrize(
    ("preset", "rows", "ngram_order", "measured_gb"),
    [
        ("upstream-h100", 128, 1, 47.2),
        ("seed-h100", 128, 1, 64.9),
        ("h100", 32, 1, 15.7),
        ("h100", 16, 1, 8.34),
        ("h100", 64, 1, 30.9),
        ("h100", 32, 3, 21.5),
        ("seed-h100-fast", 128, 1, 67.6),
        ("seed-h100-fast", 64, 1, 33.0),
    ],
)
def test_peaks_measured_on_a_gpu_are_met_within_a_tenth(
    preset: str, rows: int, ngram_order: int, measured_gb: float
) -> None:
    values = read_hyperparameters(apply_preset(TEMPLATE.read_text(), PRESETS[preset]))
    changes = {"DEVICE_BATCH_SIZE": rows, "NGRAM_ORDER": ngram_order, "RECALL": "", "MEMORY": ""}
    needed = estimate({**values, **changes}, 8192, 2048)
    assert needed.peak_bytes / 1e9 == pytest.approx(measured_gb, rel=0.1)


@pytest.mark.parametrize(("ngram_order", "measured_gb"), [(3, 23.2), (1, 17.1)])
def test_so_are_those_of_the_preset_as_it_is(ngram_order: int, measured_gb: float) -> None:
    values = read_hyperparameters(apply_preset(TEMPLATE.read_text(), PRESETS["h100"]))
    needed = estimate({**values, "NGRAM_ORDER": ngram_order}, 8192, 2048)
    assert needed.peak_bytes / 1e9 == pytest.approx(measured_gb, rel=0.1)


@pytest.mark.parametrize(
    ("preset", "gib"), [("h100", 80), ("24gb", 24), ("12gb", 12), ("seed-h100", 80), ("cpu", 4)]
)
def test_each_preset_fits_its_device(preset: str, gib: int) -> None:
    chosen = PRESETS[preset]
    text = apply_preset(TEMPLATE.read_text(), chosen)
    needed = refuse_too_large(text, chosen.vocab_size, chosen.context_length, chosen.device_class, gib * GIB)
    assert needed is not None
    assert needed.peak_bytes < gib * GIB


def test_what_cannot_fit_is_refused_with_the_way_out() -> None:
    text = apply_preset(TEMPLATE.read_text(), PRESETS["seed-h100"])
    with pytest.raises(TooLargeError, match="DEVICE_BATCH_SIZE"):
        refuse_too_large(text, 8192, 2048, "cuda", 24 * GIB)


def test_a_file_with_other_code_or_a_broken_block_is_left_to_the_run() -> None:
    large = apply_preset(TEMPLATE.read_text(), PRESETS["seed-h100"])
    with pytest.raises(TooLargeError):
        refuse_too_large(large, 8192, 2048, "cuda", GIB)
    assert refuse_too_large(large + "\n# changed", 8192, 2048, "cuda", GIB) is None
    assert refuse_too_large(large.replace("DEPTH = 9", "DEPTH = 'nine'"), 8192, 2048, "cuda", GIB) is None
    assert refuse_too_large("def (", 8192, 2048, "cuda", GIB) is None
