"""However the evaluator ends or its candidate dawdles, the run has a reason, soon, and nothing is left."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.trainer.harness.test_serve import write_candidate
from tests.trainer.runs.test_evaluation_run import evaluation_on
from trainer.data.dataset import Dataset
from trainer.executor import DeviceInfo
from trainer.experiment import Failure
from trainer.runs.evaluation_run import EvaluationRun
from trainer.runs.events import TrainingRecord
from trainer.runs.output import OutputCollector

CPU = DeviceInfo("cpu", "cpu", 1 << 30, "cpu")
SLOW = "(open(r'{mark}', 'a').write('.'), __import__('time').sleep({seconds}), self.table(tokens))[2]"
posix = pytest.mark.skipif(os.name != "posix", reason="signals and supervisors")


def prepare(folder: Path, dataset: Dataset, forward: str) -> EvaluationRun:
    """A run whose training has ended, its checkpoint taken."""
    (folder / "evaluation").mkdir()
    write_candidate(folder, forward)
    (folder / "out").rename(folder / "checkpoint")
    return evaluation_on(CPU, dataset, folder)


def left_over(folder: Path) -> list[str]:
    """What runs in this folder or with it."""
    lines = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if str(folder) in line]


async def killed_while_scoring(tmp_path: Path, dataset: Dataset, who: str) -> tuple[Failure, str]:
    mark = tmp_path / "asked"
    run = prepare(tmp_path, dataset, SLOW.format(mark=mark, seconds=3600))
    scoring = asyncio.create_task(run.score(TrainingRecord()))
    while not mark.exists():
        assert not scoring.done(), scoring.result()
        await asyncio.sleep(0.05)
    for process in psutil.Process().children(recursive=True):
        if who in process.cmdline():
            process.kill()
            break
    report, reason = await asyncio.wait_for(scoring, 20)
    assert report is None
    return reason


@posix
@pytest.mark.long
async def test_an_evaluator_that_is_killed_is_no_defect_and_leaves_nothing(
    tmp_path: Path, dataset: Dataset
) -> None:
    failure, message = await killed_while_scoring(tmp_path, dataset, "trainer.evaluate")
    assert (failure, message) == (Failure.KILLED, "the evaluator was killed by signal 9")
    assert left_over(tmp_path) == []


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
async def test_a_full_disk_is_not_damaged_data(tmp_path: Path, dataset: Dataset) -> None:
    run = prepare(tmp_path, dataset, "self.table(tokens)")
    (tmp_path / "evaluation" / "first.plan.json").symlink_to("/dev/full")
    report, (failure, message) = await run.score(TrainingRecord())
    assert report is None
    assert (failure, message) == (Failure.DISK_FULL, "[Errno 28] No space left on device")


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
        await asyncio.wait_for(asyncio.to_thread(printing.write, b"a line\n" * 200_000), 20)
    with pytest.raises(OSError, match="No space left"):
        await reading
    transport.close()
    with suppress(OSError):
        collector.close()
