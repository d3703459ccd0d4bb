"""What the daemon hands to the evaluator's process, and how it reads what that says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from trainer.data.dataset import Dataset
from trainer.executor import DeviceInfo, Job
from trainer.experiment import Budget, ExperimentRequest, SeedGrant, Tier
from trainer.runs.device_memory_cap import visible_names
from trainer.runs.evaluation_run import EvaluationRun
from trainer.runs.events import TrainingRecord
from trainer.runs.folder import RunFolder
from trainer.runs.local_run import RunSettings
from trainer.runs.supervised import read_whole

SETTINGS = RunSettings(Tier.NONE, 1, 1 << 30, 1 << 30, 64, 1 << 20, 0.0, 60.0)
REQUEST = ExperimentRequest("scored", "", SeedGrant(1), Budget("tokens", 1.0), "", "tiny")


def evaluation_on(
    device: DeviceInfo, dataset: Dataset, folder: Path, settings: RunSettings = SETTINGS
) -> EvaluationRun:
    return EvaluationRun(Job(REQUEST, "", folder, (device,)), dataset, settings, RunFolder(folder))


def test_evaluator_and_candidate_are_given_the_leased_device(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-second")
    run = evaluation_on(DeviceInfo("gpu", "cuda", 1 << 30, "gpu", index=1), dataset, tmp_path)
    seen = run._plan("job.json").environment["CUDA_VISIBLE_DEVICES"]
    assert seen == "GPU-second"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)  # as in the evaluator's process
    assert visible_names(run._evaluation_job(TrainingRecord()).gpus) == ["GPU-second"]


def test_on_a_cpu_no_gpu_is_visible(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    run = evaluation_on(DeviceInfo("cpu", "cpu", 1 << 30, "cpu"), dataset, tmp_path)
    assert run._plan("job.json").environment["CUDA_VISIBLE_DEVICES"] == ""
    assert run._evaluation_job(TrainingRecord()).gpus == ()


async def test_a_report_in_pieces_is_read_to_its_end() -> None:
    stream = asyncio.StreamReader()
    reading = asyncio.create_task(read_whole(stream, 1 << 20))
    for piece in (b"a library's notice\n", b'{"type": ', b'"report"}\n'):
        stream.feed_data(piece)
        await asyncio.sleep(0)
    stream.feed_eof()
    assert await reading == b'a library\'s notice\n{"type": "report"}\n'


async def test_of_a_flood_the_end_is_kept() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"x" * 100_000 + b"end")
    stream.feed_eof()
    assert await read_whole(stream, 10) == b"xxxxxxxend"
