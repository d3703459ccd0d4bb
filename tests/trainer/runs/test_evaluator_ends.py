"""However the evaluator ends or its candidate dawdles, the run has a reason, soon, and nothing is left."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.trainer.harness.test_serve import write_candidate
from tests.trainer.runs.test_evaluation_run import SETTINGS, evaluation_on
from trainer.data.dataset import Dataset
from trainer.evaluate import Evaluator
from trainer.evaluation.job import EvaluationJob
from trainer.executor import DeviceInfo
from trainer.experiment import Failure, Finding
from trainer.runs.events import TrainingRecord
from trainer.runs.live_run import result_of_error
from trainer.runs.output import OutputCollector

CPU = DeviceInfo("cpu", "cpu", 1 << 30, "cpu")
# Marks each call in a file, and sleeps.
SLOW = "(print(file=open(r'{mark}', 'a')), __import__('time').sleep({seconds}), self.table(tokens))[2]"
posix = pytest.mark.skipif(os.name != "posix", reason="signals and supervisors")


def write_taken(folder: Path, forward: str) -> None:
    """The folder of a run whose training has ended, its checkpoint taken."""
    (folder / "evaluation").mkdir()
    write_candidate(folder, forward)
    (folder / "out").rename(folder / "checkpoint")


def left_over(folder: Path) -> list[str]:
    """What runs in this folder or with it."""
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if str(folder) in line]


@posix
@pytest.mark.long
async def test_an_evaluator_that_is_killed_is_no_defect_and_leaves_nothing(
    tmp_path: Path, dataset: Dataset
) -> None:
    mark = tmp_path / "asked"
    write_taken(tmp_path, SLOW.format(mark=mark, seconds=3600))
    scoring = asyncio.create_task(evaluation_on(CPU, dataset, tmp_path).score(TrainingRecord()))
    while not mark.exists():
        assert not scoring.done(), scoring.result()
        await asyncio.sleep(0.05)
    below = psutil.Process().children(recursive=True)
    next(process for process in below if "trainer.evaluate" in process.cmdline()).kill()
    report, reason = await asyncio.wait_for(scoring, 60)
    assert report is None
    assert reason == (Failure.KILLED, "the evaluator was killed by signal 9")
    assert left_over(tmp_path) == []


@posix
@pytest.mark.long
async def test_an_evaluation_beyond_its_limit_is_a_timeout(tmp_path: Path, dataset: Dataset) -> None:
    write_taken(tmp_path, SLOW.format(mark=tmp_path / "asked", seconds=3600))
    run = evaluation_on(CPU, dataset, tmp_path, replace(SETTINGS, evaluation_seconds=2.0))
    report, reason = await asyncio.wait_for(run.score(TrainingRecord()), 60)
    assert report is None
    assert reason == (Failure.TIMEOUT, "the evaluation took longer than its limit")
    assert left_over(tmp_path) == []


@posix
@pytest.mark.long
def test_one_answer_that_comes_too_late_is_no_answer(tmp_path: Path, dataset: Dataset) -> None:
    """The others of that candidate take a while as well, and are taken."""
    mark = tmp_path / "asked"
    seconds = f"3600 if len(open(r'{mark}').read()) > 2 else 0.1"
    write_taken(tmp_path, SLOW.format(mark=mark, seconds=seconds))
    train_py, checkpoint, work = (str(tmp_path / name) for name in ("train.py", "checkpoint", "evaluation"))
    job = EvaluationJob(train_py, checkpoint, "", work, threads=1, answer_seconds=4.0)
    report = Evaluator(job, dataset).run()
    assert (report.finding, report.message) == (Finding.NO_ANSWER, "no answer in time")
    assert report.val_bpb is None
    assert left_over(tmp_path) == []


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
async def test_a_full_disk_is_not_damaged_data(tmp_path: Path, dataset: Dataset) -> None:
    write_taken(tmp_path, "self.table(tokens)")
    (tmp_path / "evaluation" / "first.plan.json").symlink_to("/dev/full")
    run = evaluation_on(CPU, dataset, tmp_path)
    report, reason = await run.score(TrainingRecord())
    assert report is None
    assert reason == (Failure.DISK_FULL, "[Errno 28] No space left on device")


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("name", ["evaluation/job.json", "evaluator-plan.json"])
async def test_a_disk_that_is_full_for_the_daemon_is_full(
    tmp_path: Path, dataset: Dataset, name: str
) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        await evaluation_on(CPU, dataset, tmp_path).score(TrainingRecord())
    assert result_of_error(caught.value).failure is Failure.DISK_FULL


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
async def test_lines_that_cannot_be_written_are_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    collector = OutputCollector(tmp_path / "log.txt", 1 << 30, lambda stream, text: None, lambda: None)
    read, write = os.pipe()
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(read, "rb")
    )
    reading = asyncio.create_task(collector.read("stderr", stream))
    with os.fdopen(write, "wb") as printing:
        await asyncio.wait_for(asyncio.to_thread(printing.write, b"a line\n" * 200_000), 60)
    with pytest.raises(OSError, match="No space left"):
        await reading
    transport.close()
    with suppress(OSError):
        collector.close()
