"""Several processes against one, measured as on devices: here on CPUs, through gloo."""

import json
from pathlib import Path

import pytest
import torch

from trainer.bench.scaling import Place, format_report, main, measure
from trainer.data.dataset import Dataset
from trainer.presets import PRESETS


@pytest.mark.long
@pytest.mark.timeout(300)
def test_two_processes_are_compared_with_one(dataset: Dataset) -> None:
    preset = PRESETS["tiny"].with_values({"RECALL": "1 2", "MEMORY": "1 2 4"})
    place = Place(preset, dataset.train_folder, "cpu", 1, "auto")
    report = measure(place, 2, 1.0, 20)
    assert json.loads(json.dumps(report)) == report
    assert report["loss_difference"] < 1e-3
    assert report["loss_difference_of_repeats"] < 1e-3
    assert report["speed_ratio"] > 0.0
    assert report["together"]["attention"] == "sdpa"
    assert "2 devices" in format_report(report)


@pytest.mark.parametrize(("devices", "words"), [("1", "give 2 or more"), ("3", "not divisible by 3")])
def test_what_cannot_be_compared_is_refused(
    devices: str, words: str, tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(PRESETS["tiny"], dataset.train_folder, "cpu", 1, "auto")
    with pytest.raises(ValueError, match=words):
        measure(place, int(devices), 1.0, 5)
    assert main(["--preset", "moon", "--data", str(tmp_path), "--devices", devices]) == 2
    assert "moon" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_follow_the_loss_curve_of_one(dataset: Dataset) -> None:
    report = measure(Place(PRESETS["tiny"], dataset.train_folder, "cuda", 1, "auto"), 2, 1.0, 20)
    assert report["loss_difference"] < 1e-3
    assert report["together"]["devices"] == 2
